// What the demonstration shows, each with its verdict.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "test/demo/stage.h"

namespace fairlead::demo {

struct Row {
  std::string tried;
  std::string seen;
  bool held = false;
};

// Prints a line while a scene plays.
using Narrator = std::function<void(const std::string&)>;

// Requests through a ClusterIP from a pod, from each node, and by IPv6 where the Service has it.
std::vector<Row> PlayClusterIp(const Stage& stage, const Narrator& tell);
// From outside to a node port with policy Cluster: any node answers.
std::vector<Row> PlayNodePortCluster(const Stage& stage, const Narrator& tell);
// With policy Local: nodes with a pod answer, and the pod sees the client; others are silent.
std::vector<Row> PlayNodePortLocal(const Stage& stage, const Narrator& tell);
// Connections to where nobody listens: a VIP's other ports, though the host listens there.
std::vector<Row> PlayGuard(const Stage& stage, const Narrator& tell);
// A pod becomes unready, then ready again, while requests run.
std::vector<Row> PlayUnreadyPod(Stage& stage, const Narrator& tell);
// Round-robin and least-connection under a load that lies on one pod.
std::vector<Row> PlaySchedulers(const Stage& stage, const Narrator& tell);

// All of the above in this order.
std::vector<Row> PlayAll(Stage& stage, const Narrator& tell);

std::string FormatRows(const std::vector<Row>& rows);

}  // namespace fairlead::demo

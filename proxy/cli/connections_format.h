// Balanced connections as text and as a document, one by one, so that none has to be kept.
#pragma once

#include <cstddef>
#include <string>

#include "proxy/cli/connections_names.h"
#include "proxy/cli/connections_read.h"
#include "proxy/cli/output.h"
#include "proxy/cli/table.h"

namespace fairlead {

// Makes the parts of an output in their order: Begin, any number of Add, End. What it returns is to
// be written at once. Thread-compatible.
//
// Text is as `ipvsadm -L -n -c` prints it, with Service and Pod behind its last column. Wide has
// the columns PROTO STATE EXPIRES CLIENT VIRTUAL ENDPOINT NAMESPACE SERVICE PORT POD NODE. JSON and
// YAML:
//   {"connections": [{"protocol", "state", "expiresSeconds", "client", "clientPort", "virtual",
//     "virtualPort", "endpoint", "endpointPort", "service", "portName", "pod", "node"}],
//    "cut": whether there are more than the limit allows}
class ConnectionsFormat {
 public:
  ConnectionsFormat(Output output, bool color);

  std::string Begin();
  // May be empty: a wide table comes in parts of kRowsPerPart rows.
  std::string Add(const BalancedConnection& connection, const ConnectionNames& names);
  std::string End(bool cut);

  static constexpr size_t kRowsPerPart = 1000;

 private:
  const Output output_;
  Table table_;
  bool first_ = true;
};

}  // namespace fairlead

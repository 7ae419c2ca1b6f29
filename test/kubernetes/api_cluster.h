// A real Kubernetes API server with etcd and the controller that makes EndpointSlices, on loopback.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ipvs/types.h"
#include "test/kubernetes/api_client.h"
#include "test/kubernetes/certificates.h"
#include "test/lab/process.h"

namespace fairlead::lab {

// The user that a watcher or an agent is, with a role that may get, list and watch Services, Nodes
// and EndpointSlices, and nothing else.
inline constexpr char kFairleadUser[] = "fairlead";

struct ApiClusterOptions {
  // The folder with kube-apiserver, kube-controller-manager and etcd, made by test/tools/build.
  // Empty: the environment's FAIRLEAD_TEST_TOOLS.
  std::string tools = {};
  // Without it a watch is read from etcd, and what etcd has compacted is gone.
  bool watch_cache = true;
  // Where the `kubernetes` Service's endpoint is said to be. Nobody answers there.
  std::string advertise_address = "192.0.2.10";
};

// Ready when it was started. Each program is killed with the object, and when the thread that
// started it ends. Data, certificates and logs are in a temporary folder that goes with the object.
// Confined to one thread.
class ApiServerCluster {
 public:
  static constexpr char kClusterIpRanges[] = "10.96.0.0/16,fd00:10:96::/112";
  // How long a part of it may take to come up, on a machine with much else to do.
  static constexpr absl::Duration kPatience = absl::Seconds(120);

  static absl::StatusOr<std::unique_ptr<ApiServerCluster>> Start(ApiClusterOptions options = {});
  ~ApiServerCluster();
  ApiServerCluster(const ApiServerCluster&) = delete;
  ApiServerCluster& operator=(const ApiServerCluster&) = delete;

  const std::string& folder() const { return folder_; }
  // Of the API server; the same after it was started again.
  int port() const { return api_port_; }
  std::string url() const;
  const CertificateAuthority& authority() const { return *authority_; }

  // The endpoint of the Service `kubernetes`.
  ipvs::RealServerKey api_server() const;

  // An administrator's connection.
  ApiClient& admin() { return *admin_; }

  // A file for the administrator, with a client certificate.
  std::string admin_kubeconfig() const { return folder_ + "/admin.kubeconfig"; }
  // A file for kFairleadUser, with token_file().
  std::string fairlead_kubeconfig() const { return folder_ + "/fairlead.kubeconfig"; }
  std::string token_file() const { return folder_ + "/fairlead.token"; }

  // Writes NAME.kubeconfig for that server and returns its path. `user` is what kubeconfig's
  // `user` holds, with paths as they are.
  absl::StatusOr<std::string> WriteKubeconfig(const std::string& name, const std::string& server,
                                              const nlohmann::json& user) const;

  // The tokens that the API server takes after its next start, with whose they are.
  absl::Status SetTokens(const std::map<std::string, std::string>& user_by_token) const;

  // Waits until the user may, or may not, watch the resource ("nodes", of the core group): what is
  // changed of roles counts a little later.
  absl::Status AwaitRight(const std::string& user, const std::string& resource, bool allowed);

  // SIGKILL. It holds nothing that etcd does not have.
  void KillApiServer();
  // Returns when it is ready.
  absl::Status StartApiServer();
  void KillEtcd();
  absl::Status StartEtcd();
  void KillControllerManager();
  absl::Status StartControllerManager();

  // Forgets all versions but the present ones. Returns etcd's revision, which is the API's
  // resourceVersion.
  absl::StatusOr<int64_t> Compact();

  // Bytes of resident memory of each program that runs.
  std::map<std::string, int64_t> ResidentMemory() const;

 private:
  explicit ApiServerCluster(ApiClusterOptions options) : options_(std::move(options)) {}

  absl::Status Prepare();
  // Starts the program with those arguments; its output goes to NAME.log.
  absl::Status StartProgram(const std::string& name, std::vector<std::string> arguments);
  // Waits until `ready`; an error has the end of the program's log.
  absl::Status Await(const std::string& name, const std::function<bool()>& ready);
  void Kill(const std::string& name);
  absl::Status GrantFairleadUser();

  ApiClusterOptions options_;
  std::string folder_;
  int etcd_port_ = 0;
  int etcd_peer_port_ = 0;
  int api_port_ = 0;
  std::unique_ptr<CertificateAuthority> authority_;
  std::unique_ptr<ApiClient> admin_;
  std::unique_ptr<ApiClient> etcd_;
  std::map<std::string, std::unique_ptr<Process>> programs_;
};

}  // namespace fairlead::lab

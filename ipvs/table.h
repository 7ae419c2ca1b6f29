// The interface of an IPVS table: the kernel's (KernelTable) or one in memory (MemoryTable).
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipvs/types.h"

namespace fairlead::ipvs {

enum class Verb {
  kAddVirtualServer,     // ALREADY_EXISTS if it exists; NOT_FOUND if its scheduler does not.
  kEditVirtualServer,    // NOT_FOUND if it, or its scheduler, does not exist. Keeps connections.
  kDeleteVirtualServer,  // With all its real servers. NOT_FOUND if it does not exist.
  kAddRealServer,        // ALREADY_EXISTS; NOT_FOUND if the virtual server does not exist.
  kEditRealServer,       // NOT_FOUND if it, or its virtual server, does not exist.
  kDeleteRealServer,     // As kEditRealServer.
};

// "add virtual server", for messages.
absl::string_view FormatVerb(Verb verb);

// One change of the table. Fields that the verb does not need are ignored.
struct Operation {
  Verb verb = Verb::kAddVirtualServer;
  VirtualServerKey virtual_server;
  VirtualServerConfig virtual_config;  // kAddVirtualServer, kEditVirtualServer.
  RealServerKey real_server;           // Verbs of real servers.
  RealServerConfig real_config;        // kAddRealServer, kEditRealServer.

  static Operation AddVirtualServer(const VirtualServerKey& key, const VirtualServerConfig& config);
  static Operation EditVirtualServer(const VirtualServerKey& key,
                                     const VirtualServerConfig& config);
  static Operation DeleteVirtualServer(const VirtualServerKey& key);
  static Operation AddRealServer(const VirtualServerKey& key, const RealServerKey& real_server,
                                 const RealServerConfig& config);
  static Operation EditRealServer(const VirtualServerKey& key, const RealServerKey& real_server,
                                  const RealServerConfig& config);
  static Operation DeleteRealServer(const VirtualServerKey& key, const RealServerKey& real_server);

  // "add real server 10.244.1.2:8080 to TCP 10.96.0.1:80", for messages.
  std::string Format() const;

  friend bool operator==(const Operation&, const Operation&) = default;
};

// An IPVS table. Thread-compatible: calls on one object must not overlap.
class Table {
 public:
  virtual ~Table() = default;

  // The whole table, virtual servers sorted by key and real servers by theirs. Entries that change
  // while the kernel is read may be missing or as they were; an error is never an empty table.
  virtual absl::StatusOr<std::vector<VirtualServer>> Dump() = 0;

  // As Dump, but virtual servers for which `whole` is false come without real servers, which are
  // not read: most of what a dump costs. `whole` is to look at no real servers.
  virtual absl::StatusOr<std::vector<VirtualServer>> DumpWhere(
      absl::FunctionRef<bool(const VirtualServer&)> whole);

  // One virtual server with its real servers; NOT_FOUND if there is none.
  virtual absl::StatusOr<VirtualServer> Get(const VirtualServerKey& key) = 0;

  // Carries out the operations in order. Not atomic: one that fails does not stop the rest. The
  // result has a status for each operation, in the same order. Besides the codes of Verb:
  // INVALID_ARGUMENT (the kernel refuses a value), PERMISSION_DENIED, RESOURCE_EXHAUSTED (no
  // memory), FAILED_PRECONDITION (no IPVS in this kernel), UNAVAILABLE (busy: it did not happen,
  // try again), UNKNOWN (the reply was lost: the operation may or may not have happened, read it
  // back), INTERNAL (anything else).
  virtual std::vector<absl::Status> Apply(absl::Span<const Operation> operations) = 0;
};

}  // namespace fairlead::ipvs

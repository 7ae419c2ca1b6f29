// A network namespace of the lab's own, and how a thread gets into it.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead::lab {

// A named network namespace with `lo` up. It is bound to /run/netns/NAME, so that
// `ip netns exec NAME` works on it too. The name goes away with the object; the kernel keeps the
// namespace itself for as long as sockets or processes are left in it.
//
// A socket belongs for good to the namespace of the thread that made it, whichever thread uses it
// later: one process can hold the servers and clients of a whole cluster.
//
// Needs root. Thread-safe.
class NetNamespace {
 public:
  // Makes the namespace. One of the same name that an earlier run left behind loses its name.
  static absl::StatusOr<std::unique_ptr<NetNamespace>> Create(absl::string_view name);

  ~NetNamespace();
  NetNamespace(const NetNamespace&) = delete;
  NetNamespace& operator=(const NetNamespace&) = delete;

  const std::string& name() const { return name_; }

  // Runs `function` on the calling thread inside the namespace, returns what it returns, and puts
  // the thread back. Processes that it starts are born in the namespace. May be nested.
  template <typename Function>
  auto Run(Function&& function) const {
    const Visit visit(fd_);
    return std::forward<Function>(function)();
  }

  // Writes a setting of the namespace: SetSysctl("net.ipv4.ip_forward", "1"). Dots in the names of
  // interfaces are not supported. NotFound where the kernel does not know it.
  absl::Status SetSysctl(absl::string_view key, absl::string_view value) const;

 private:
  // The calling thread's stay in a namespace. A failure to enter or to return is fatal: whatever
  // came next would happen in the wrong place.
  class Visit {
   public:
    explicit Visit(int fd);
    ~Visit();

   private:
    int home_;
  };

  NetNamespace(std::string name, int fd) : name_(std::move(name)), fd_(fd) {}

  const std::string name_;
  const int fd_;
};

}  // namespace fairlead::lab

// A network namespace of a test's own.
#pragma once

#include <string>

namespace fairlead {

// The calling thread is in a new, empty network namespace, whose device lo is up, for as long as
// this exists. Needs root.
class NetworkNamespace {
 public:
  NetworkNamespace();
  ~NetworkNamespace();
  NetworkNamespace(const NetworkNamespace&) = delete;
  NetworkNamespace& operator=(const NetworkNamespace&) = delete;

 private:
  int outer_;
};

// Whether this process may make one.
bool CanUseNetworkNamespaces();

// What the command of a shell prints, in the calling thread's namespace. Fails the test if its exit
// code is not 0.
std::string Run(const std::string& command);

}  // namespace fairlead

#include "ipvs/errors.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "test/ipvs/goldens.h"

namespace fairlead::ipvs {
namespace {

using Code = absl::StatusCode;

TEST_CASE("an errno says what it means and what an operator does about it") {
  struct Row {
    int error;
    Code code;
    std::string message;
  };
  const std::vector<Row> rows = {
      {EPERM, Code::kPermissionDenied,
       "x: Operation not permitted: run as root, or with CAP_NET_ADMIN"},
      {EACCES, Code::kPermissionDenied, "x: Permission denied: run as root, or with CAP_NET_ADMIN"},
      {ENOENT, Code::kFailedPrecondition,
       "x: this kernel has no IPVS (module ip_vs): run `modprobe ip_vs`"},
      {ENOPROTOOPT, Code::kFailedPrecondition,
       "x: this kernel has no IPVS (module ip_vs): run `modprobe ip_vs`"},
      {ESRCH, Code::kNotFound, "x: it does not exist"},
      {EINVAL, Code::kInvalidArgument, "x: Invalid argument"},
      {EAFNOSUPPORT, Code::kInvalidArgument,
       "x: Address family not supported by protocol: this kernel's IPVS is built without IPv6 "
       "(CONFIG_IP_VS_IPV6)"},
      {ENOMEM, Code::kResourceExhausted,
       "x: Cannot allocate memory: the kernel has no memory for it, free some"},
      {ENOBUFS, Code::kResourceExhausted,
       "x: No buffer space available: the kernel has no memory for it, free some"},
      {EMSGSIZE, Code::kResourceExhausted,
       "x: Message too long: run with CAP_NET_ADMIN, or raise the sysctl net.core.wmem_max"},
      {EMFILE, Code::kResourceExhausted,
       "x: Too many open files: raise the limit of open files (ulimit -n, LimitNOFILE=)"},
      {ENFILE, Code::kResourceExhausted,
       "x: Too many open files in system: raise the sysctl fs.file-max"},
      {EBUSY, Code::kUnavailable, "x: Device or resource busy: somebody else is at it, try again"},
      {EAGAIN, Code::kUnavailable,
       "x: Resource temporarily unavailable: somebody else is at it, try again"},
      {EINTR, Code::kUnavailable, "x: Interrupted system call: somebody else is at it, try again"},
      {EIO, Code::kInternal, "x: Input/output error"},
  };
  for (const Row& row : rows) {
    const absl::Status status = StatusFromErrno(row.error, "x");
    CHECK(status.code() == row.code);
    CHECK(status.message() == row.message);
  }
  CHECK(StatusFromErrno(0, "x").ok());
}

TEST_CASE("a real server that the kernel does not take is told why") {
  const auto add = Operation::AddRealServer(Tcp("10.96.0.1", 80), Real("224.0.0.1", 80), {});
  CHECK(StatusFromErrno(EINVAL, add) ==
        absl::InvalidArgumentError("add real server 224.0.0.1:80 to TCP 10.96.0.1:80: Invalid "
                                   "argument: the kernel takes unicast addresses only, and needs "
                                   "lo up"));
  CHECK(StatusFromErrno(ENOMEM, add) ==
        absl::ResourceExhaustedError("add real server 224.0.0.1:80 to TCP 10.96.0.1:80: Cannot "
                                     "allocate memory: the kernel has no memory for it, free "
                                     "some"));
}

}  // namespace
}  // namespace fairlead::ipvs

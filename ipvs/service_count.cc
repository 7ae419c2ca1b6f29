#include "ipvs/service_count.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "ipvs/errors.h"

namespace fairlead::ipvs {

absl::StatusOr<ServiceCount> ServiceCount::Open() {
  // Any IPv4 socket will do: a raw one would need CAP_NET_RAW.
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return StatusFromErrno(errno, "open a socket to count virtual servers");
  return ServiceCount(fd);
}

ServiceCount::ServiceCount(ServiceCount&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

ServiceCount::~ServiceCount() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<uint32_t> ServiceCount::CountIpv4VirtualServers() const {
  ip_vs_getinfo info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd_, IPPROTO_IP, IP_VS_SO_GET_INFO, &info, &size) != 0) {
    return StatusFromErrno(errno, "count virtual servers");
  }
  return info.num_services;
}

}  // namespace fairlead::ipvs

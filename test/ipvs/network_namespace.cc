#include "test/ipvs/network_namespace.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace fairlead::ipvs {

void EnterNewNetworkNamespace() {
  if (unshare(CLONE_NEWNET) != 0) {
    throw std::system_error(errno, std::generic_category(), "make a network namespace");
  }
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  const int result = fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &request);
  const int error = errno;
  if (fd >= 0) close(fd);
  if (result != 0) throw std::system_error(error, std::generic_category(), "set lo up");
}

}  // namespace fairlead::ipvs

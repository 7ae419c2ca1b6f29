#include "proxy/daemon/notify.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <future>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace fairlead {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

// A service manager: the environment that it gives, and what it is told.
class Manager {
 public:
  explicit Manager(absl::Duration watchdog = absl::ZeroDuration()) {
    char name[] = "/tmp/fairlead-notify-XXXXXX";
    folder_ = mkdtemp(name);
    path_ = absl::StrCat(folder_, "/socket");
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    setenv("NOTIFY_SOCKET", path_.c_str(), 1);
    if (watchdog > absl::ZeroDuration()) {
      setenv("WATCHDOG_USEC", absl::StrCat(absl::ToInt64Microseconds(watchdog)).c_str(), 1);
    }
  }
  ~Manager() {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    close(fd_);
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }

  // What was said next; nullopt if nothing is there.
  std::optional<std::string> Heard() const { return Receive(MSG_DONTWAIT); }
  // The same, and waits for it.
  std::string Hear() const {
    pollfd ready = {fd_, POLLIN, 0};
    REQUIRE(poll(&ready, 1, /*milliseconds=*/30'000) == 1);
    return Receive(MSG_DONTWAIT).value_or("");
  }

 private:
  std::optional<std::string> Receive(int flags) const {
    char text[1024];
    const ssize_t size = recv(fd_, text, sizeof(text), flags);
    if (size < 0) return std::nullopt;
    return std::string(text, static_cast<size_t>(size));
  }

  std::string folder_;
  std::string path_;
  int fd_ = -1;
};

TEST_CASE("a status says what is in the kernel and what is not") {
  CHECK(FormatServiceStatus(7, 0) == "revision 7 is in the kernel");
  CHECK(FormatServiceStatus(7, 1) ==
        "revision 7 is in the kernel; 1 object is not, and is tried again");
  CHECK(FormatServiceStatus(7, 2) ==
        "revision 7 is in the kernel; 2 objects are not, and are tried again");
}

TEST_CASE("the first revision in the kernel makes the daemon ready, once") {
  const Manager manager;
  Notifier notifier;
  CHECK(notifier.listening());
  CHECK(notifier.watchdog() == absl::ZeroDuration());
  notifier.Waiting("a first picture");
  notifier.Programmed(1, 0, kStart);
  notifier.Programmed(2, 0, kStart + kStatusInterval);
  notifier.Stopping("stopping,\nfor good");
  CHECK(manager.Heard() == "STATUS=waits for a first picture");
  CHECK(manager.Heard() == "READY=1\nSTATUS=revision 1 is in the kernel");
  CHECK(manager.Heard() == "STATUS=revision 2 is in the kernel");
  CHECK(manager.Heard() == "STOPPING=1\nSTATUS=stopping, for good");
  CHECK(manager.Heard() == std::nullopt);
}

TEST_CASE("a daemon that is ready with failures is ready") {
  const Manager manager;
  Notifier notifier;
  notifier.Programmed(1, 1, kStart);
  CHECK(manager.Heard() ==
        "READY=1\nSTATUS=revision 1 is in the kernel; 1 object is not, and is tried again");
}

TEST_CASE("revisions are told now and then, failures at once") {
  const Manager manager;
  Notifier notifier;
  notifier.Programmed(1, 0, kStart);
  REQUIRE(manager.Heard().has_value());
  const absl::Time soon = kStart + kStatusInterval - absl::Milliseconds(1);
  notifier.Programmed(2, 0, soon);
  notifier.Programmed(3, 0, soon);
  notifier.Flush(soon);
  CHECK(manager.Heard() == std::nullopt);
  notifier.Flush(kStart + kStatusInterval);
  CHECK(manager.Heard() == "STATUS=revision 3 is in the kernel");
  // There is nothing to say any more.
  notifier.Flush(kStart + 5 * kStatusInterval);
  CHECK(manager.Heard() == std::nullopt);

  const absl::Time late = kStart + kStatusInterval + absl::Milliseconds(1);
  notifier.Programmed(4, 2, late);
  CHECK(manager.Heard() ==
        "STATUS=revision 4 is in the kernel; 2 objects are not, and are tried again");
  notifier.Programmed(5, 0, late);
  CHECK(manager.Heard() == "STATUS=revision 5 is in the kernel");
  // What waited is out of date by then.
  notifier.Flush(late + kStatusInterval);
  CHECK(manager.Heard() == std::nullopt);
}

TEST_CASE("without a manager nothing happens") {
  Notifier notifier;
  CHECK_FALSE(notifier.listening());
  notifier.Programmed(1, 0, kStart);
  notifier.Alive();
  std::atomic<bool> asked = false;
  {
    const LifeSigns life(notifier,
                         {.ask = [&] { return asked = true; }, .interval = absl::Milliseconds(1)});
  }
  CHECK_FALSE(asked);
}

TEST_CASE("signs of life come four times within the watchdog's time") {
  const Manager manager(absl::Seconds(120));
  const Notifier notifier;
  CHECK(notifier.watchdog() == absl::Seconds(120));
  CHECK(LifeSigns::IntervalFor(notifier) == absl::Seconds(30));
}

TEST_CASE("a watchdog that is meant for another process is not this one's") {
  const Manager manager(absl::Seconds(120));
  setenv("WATCHDOG_PID", "1", 1);
  CHECK(Notifier().watchdog() == absl::ZeroDuration());
}

TEST_CASE("signs of life are given while the loop answers") {
  const Manager manager(absl::Seconds(1));
  Notifier notifier;
  const LifeSigns life(notifier, {.ask = [] { return true; }, .interval = absl::Milliseconds(1)});
  CHECK(manager.Hear() == "WATCHDOG=1");
  CHECK(manager.Hear() == "WATCHDOG=1");
}

TEST_CASE("a loop that does not answer gives no sign of life") {
  const Manager manager(absl::Seconds(1));
  Notifier notifier;
  std::promise<void> asked_often;
  int asked = 0;
  {
    const LifeSigns life(notifier, {.ask =
                                        [&] {
                                          if (++asked == 3) asked_often.set_value();
                                          return false;
                                        },
                                    .interval = absl::Milliseconds(1)});
    asked_often.get_future().wait();
  }
  CHECK(manager.Heard() == std::nullopt);
}

TEST_CASE("without a watchdog the status is told all the same") {
  const Manager manager;
  Notifier notifier;
  CHECK(LifeSigns::IntervalFor(notifier) == kStatusInterval);
  const absl::Time before = absl::Now() - kStatusInterval;
  notifier.Programmed(1, 0, before);
  notifier.Programmed(2, 0, before);
  const LifeSigns life(notifier, {.ask = [] { return true; }, .interval = absl::Seconds(1)});
  CHECK(manager.Hear() == "READY=1\nSTATUS=revision 1 is in the kernel");
  CHECK(manager.Hear() == "STATUS=revision 2 is in the kernel");
}

}  // namespace
}  // namespace fairlead

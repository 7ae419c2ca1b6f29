// A TCP proxy on loopback that does to connections what bad networks do.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"

namespace fairlead::feed_test {

enum class Fault {
  kReset,   // Both ends get an RST; what was under way is lost.
  kClose,   // Both ends get a FIN, and what they still send is thrown away.
  kFreeze,  // Nothing is carried any more, and no end is told: the connection is half-open.
};

// What happens to a connection.
struct Fate {
  // Each byte arrives so much later.
  std::chrono::milliseconds delay{0};
  // Of each direction, a second; 0: as fast as it goes.
  size_t rate = 0;
  // After so many bytes of both directions there is a fault.
  size_t bytes_until_fault = std::numeric_limits<size_t>::max();
  Fault fault = Fault::kReset;
};

// Listens on a port of its own and carries connections to another port. One thread, which waits in
// poll(2) for sockets, commands, and the next moment at which something is due. Thread-safe.
class FaultProxy {
 public:
  explicit FaultProxy(int target_port);
  // Resets what is open.
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  int port() const { return port_; }
  // Connections so far.
  size_t accepted() const;

  // Chooses the fate of each new connection; called on the proxy's thread, one call at a time.
  void SetFates(std::function<Fate()> fates);
  // Resets each new connection at once, or no longer.
  void Refuse(bool refuse);
  // Gives all that are open this fate; bytes count from now.
  void Change(const Fate& fate);
  // All that are open have the fault now.
  void Inflict(Fault fault);

 private:
  using Clock = std::chrono::steady_clock;

  struct Chunk {
    std::string bytes;
    Clock::time_point due;
  };
  struct Direction {
    int from = -1;
    int to = -1;
    std::deque<Chunk> chunks;
    size_t buffered = 0;
    // The rate allows the next write.
    Clock::time_point next_write;
    bool ended = false;
    // The end was passed on.
    bool told = false;
  };
  struct Connection {
    Direction directions[2];
    Fate fate;
    bool frozen = false;
    bool closing = false;
    bool dead = false;
  };
  using Command = std::function<void()>;

  void Post(Command command);
  void Run();
  void RunCommands();
  // Waits until something can be done or is due.
  void Wait();
  void Accept();
  void Serve(Connection& connection);
  // False: the connection is broken.
  bool Read(Connection& connection, Direction& direction);
  bool Write(Connection& connection, Direction& direction, Clock::time_point now);
  static void Apply(Connection& connection, Fault fault);
  static void CloseSockets(Connection& connection, bool reset);
  static bool WantsRead(const Connection& connection, const Direction& direction);
  static bool MayWrite(const Direction& direction, Clock::time_point now);

  const int target_port_;
  int listener_ = -1;
  int wake_ = -1;
  int port_ = 0;

  mutable std::mutex mutex_;
  std::vector<Command> commands_ ABSL_GUARDED_BY(mutex_);
  size_t accepted_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  // The thread's.
  std::function<Fate()> fates_ = [] { return Fate(); };
  bool refuse_ = false;
  std::list<Connection> connections_;

  std::thread thread_;
};

}  // namespace fairlead::feed_test

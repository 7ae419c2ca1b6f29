#include "proxy/health/http_server.h"

#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fairlead {
namespace {

using Clock = std::chrono::steady_clock;

// Events taken from the kernel at a time.
constexpr int kEventsPerWait = 64;

// nullptr if HTTP cannot express it.
MHD_Response* EncodeResponse(const HttpResponse& response) {
  // The library copies the body, in spite of the type.
  MHD_Response* const encoded = MHD_create_response_from_buffer(
      response.body.size(), const_cast<char*>(response.body.data()), MHD_RESPMEM_MUST_COPY);
  if (encoded == nullptr) return nullptr;
  bool complete = MHD_add_response_header(encoded, "Connection", "close") == MHD_YES;
  for (const auto& [name, value] : response.headers) {
    if (MHD_add_response_header(encoded, name.c_str(), value.c_str()) != MHD_YES) complete = false;
  }
  if (complete) return encoded;
  MHD_destroy_response(encoded);
  return nullptr;
}

HttpResponse Answer(const HttpHandler& handler, absl::string_view method, const char* path) {
  if (method != "GET" && method != "HEAD") return {405, {{"Allow", "GET, HEAD"}}, ""};
  return handler({std::string(method), path});
}

// Called by the library when a request's headers are there. That the answer is given at once makes
// it refuse the body, if one follows. MHD_NO ends the connection.
MHD_Result OnRequest(void* handler, MHD_Connection* connection, const char* path,
                     const char* method, const char* /*version*/, const char* /*upload*/,
                     size_t* /*upload_size*/, void** /*request*/) {
  const HttpResponse response = Answer(*static_cast<const HttpHandler*>(handler), method, path);
  MHD_Response* const encoded = EncodeResponse(response);
  if (encoded == nullptr) return MHD_NO;
  const MHD_Result result =
      MHD_queue_response(connection, static_cast<unsigned>(response.status), encoded);
  MHD_destroy_response(encoded);
  return result;
}

unsigned WholeSeconds(absl::Duration duration) {
  return static_cast<unsigned>(absl::ToInt64Seconds(absl::Ceil(duration, absl::Seconds(1))));
}

}  // namespace

// One listening socket and its connections. Confined to the server's thread.
class HttpServer::Listener {
 public:
  explicit Listener(HttpHandler handler) : handler_(std::move(handler)) {}
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  // Closes the socket too, which is the library's once it has started.
  ~Listener() {
    if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
  }

  bool Start(ListeningSocket socket, const HttpLimits& limits) {
    // Without a thread of its own the library waits for us to run it.
    daemon_ = MHD_start_daemon(
        MHD_USE_EPOLL, socket.port(), nullptr, nullptr, &OnRequest, &handler_,
        MHD_OPTION_LISTEN_SOCKET, socket.fd(), MHD_OPTION_CONNECTION_LIMIT,
        limits.connections_per_listener, MHD_OPTION_CONNECTION_TIMEOUT,
        WholeSeconds(limits.connection_timeout), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        limits.memory_per_connection, MHD_OPTION_END);
    if (daemon_ == nullptr) return false;
    socket.Release();
    return true;
  }

  // Ready to read when there is something to do.
  int epoll() const { return MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd; }

  // Does what there is to do, without waiting.
  void Run() {
    unsigned before = 0;
    do {
      before = connections();
      MHD_run(daemon_);
      // Where a connection of a full listener ended, only another run looks for the next one.
    } while (connections() < before);
    MHD_UNSIGNED_LONG_LONG milliseconds = 0;
    due_ = MHD_get_timeout(daemon_, &milliseconds) == MHD_YES
               ? Clock::now() + std::chrono::milliseconds(milliseconds)
               : Clock::time_point::max();
  }

  // When it is to run though nothing comes in: a connection has timed out.
  Clock::time_point due() const { return due_; }

 private:
  unsigned connections() const {
    return MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
  }

  HttpHandler handler_;
  MHD_Daemon* daemon_ = nullptr;
  Clock::time_point due_ = Clock::time_point::max();
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpLimits& limits) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return absl::ErrnoToStatus(errno, "HTTP server: epoll");
  const int wake_up = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (wake_up < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, wake_up, &event) != 0) {
    const absl::Status status = absl::ErrnoToStatus(errno, "HTTP server: eventfd");
    if (wake_up >= 0) close(wake_up);
    close(epoll);
    return status;
  }
  return std::unique_ptr<HttpServer>(new HttpServer(limits, epoll, wake_up));
}

HttpServer::HttpServer(const HttpLimits& limits, int epoll, int wake_up)
    : limits_(limits), epoll_(epoll), wake_up_(wake_up), thread_([this] { Serve(); }) {}

HttpServer::~HttpServer() {
  RunOnThread([this] {
    listeners_.clear();
    stopped_ = true;
  });
  thread_.join();
  close(wake_up_);
  close(epoll_);
}

absl::StatusOr<uint16_t> HttpServer::Listen(const IpAddress& address, uint16_t port,
                                            HttpHandler handler, const ListenOptions& options) {
  // Here, since the server's thread may be in another network namespace.
  absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(address, port, options);
  if (!socket.ok()) return socket.status();
  const uint16_t bound = socket->port();
  absl::Status status;
  RunOnThread([&] { status = Add(address, *std::move(socket), std::move(handler)); });
  if (!status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("cannot listen on ", FormatAddressPort(address, bound), ": ",
                                     status.message()));
  }
  return bound;
}

void HttpServer::Close(const IpAddress& address, uint16_t port) {
  RunOnThread([&] { listeners_.erase({address, port}); });
}

absl::Status HttpServer::Add(const IpAddress& address, ListeningSocket socket,
                             HttpHandler handler) {
  if (listeners_.size() >= limits_.listeners) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this server has ", limits_.listeners, " listeners already"));
  }
  const std::pair key(address, socket.port());
  // The kernel says so itself, but for another network namespace.
  if (listeners_.contains(key)) return absl::AlreadyExistsError("this server listens there");
  auto listener = std::make_unique<Listener>(std::move(handler));
  if (!listener->Start(std::move(socket), limits_)) {
    return absl::ResourceExhaustedError("no memory or no file descriptor");
  }
  epoll_event event{.events = EPOLLIN, .data = {.ptr = listener.get()}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, listener->epoll(), &event) != 0) {
    return absl::ErrnoToStatus(errno, "epoll");
  }
  listeners_.emplace(key, std::move(listener));
  return absl::OkStatus();
}

void HttpServer::RunOnThread(std::function<void()> work) {
  Command command{.work = std::move(work)};
  std::unique_lock lock(mutex_);
  commands_.push_back(&command);
  eventfd_write(wake_up_, 1);
  command_done_.wait(lock, [&command] { return command.done; });
}

void HttpServer::Serve() {
  while (!stopped_) ServeOnce();
}

void HttpServer::ServeOnce() {
  std::array<epoll_event, kEventsPerWait> events;
  // -1 where a signal came, which is no event.
  const int count = epoll_wait(epoll_, events.data(), kEventsPerWait, WaitMilliseconds());
  for (int i = 0; i < count; ++i) {
    if (events[i].data.ptr != nullptr) static_cast<Listener*>(events[i].data.ptr)->Run();
  }
  const Clock::time_point now = Clock::now();
  for (const auto& [key, listener] : listeners_) {
    if (listener->due() <= now) listener->Run();
  }
  // Last, since a command may close a listener that has an event.
  CarryOutCommands();
}

void HttpServer::CarryOutCommands() {
  // Read first: what comes later wakes us up again.
  eventfd_t ignored = 0;
  eventfd_read(wake_up_, &ignored);
  std::deque<Command*> commands;
  {
    std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (Command* const command : commands) {
    command->work();
    std::lock_guard lock(mutex_);
    command->done = true;
    command_done_.notify_all();
  }
}

int HttpServer::WaitMilliseconds() const {
  Clock::time_point due = Clock::time_point::max();
  for (const auto& [key, listener] : listeners_) due = std::min(due, listener->due());
  if (due == Clock::time_point::max()) return -1;
  // Rounded up: a millisecond too late rather than a turn for nothing.
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now());
  return static_cast<int>(std::max<int64_t>(wait.count(), 0));
}

}  // namespace fairlead

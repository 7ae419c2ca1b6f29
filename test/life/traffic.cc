#include "test/life/traffic.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "test/lab/process.h"
#include "test/lab/socket_address.h"

namespace fairlead::lab {
namespace {

// A thread that was kept from running makes good for no more than that many requests at once.
constexpr int kMaxBurst = 10;
// How soon a thread sees that the end has come.
constexpr absl::Duration kLongestWait = absl::Milliseconds(50);

Outcome OutcomeOf(int error) {
  switch (error) {
    case ECONNREFUSED:
      return Outcome::kRefused;
    case ETIMEDOUT:
      return Outcome::kTimeout;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
      return Outcome::kReset;
    case EHOSTUNREACH:
    case ENETUNREACH:
      return Outcome::kUnreachable;
    default:
      return Outcome::kError;
  }
}

// The responder's name in its answer; nothing while that is not complete.
std::optional<std::string> NameIn(absl::string_view answer, Transport transport) {
  if (transport == Transport::kTcp) {
    const size_t head = answer.find("\r\n\r\n");
    if (head == absl::string_view::npos) return std::nullopt;
    answer.remove_prefix(head + 4);
  }
  constexpr absl::string_view kName = "name=";
  const size_t end = answer.find('\n');
  const size_t blank = answer.find(' ');
  if (end == absl::string_view::npos || blank > end || answer.substr(0, kName.size()) != kName) {
    return std::nullopt;
  }
  return std::string(answer.substr(kName.size(), blank - kName.size()));
}

// Whether the connection has had to send anything a second time, its SYN included.
int64_t SentAgain(int socket) {
  tcp_info info = {};
  socklen_t size = sizeof(info);
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  return info.tcpi_total_retrans;
}

}  // namespace

std::string Brief(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(duration, absl::Milliseconds(1)));
}

std::ostream& operator<<(std::ostream& out, const FlowSummary& summary) {
  out << summary.name << ": " << summary.requests << " requests, " << summary.failed << " failed";
  if (summary.held > 0) out << ", " << summary.held << " held, " << summary.lost << " lost";
  if (summary.left_out > 0) out << ", " << summary.left_out << " left out";
  out << ", worst gap " << Brief(summary.worst_gap) << ", worst latency "
      << Brief(summary.worst_latency) << ", sent again " << summary.sent_again << ";";
  for (const auto& [name, count] : summary.by_name) out << " " << name << "=" << count;
  for (const TrafficFailure& failure : summary.failures) {
    out << "\n    " << failure.outcome << ": " << failure.what;
  }
  return out;
}

FlowSummary Total(const std::vector<FlowSummary>& summaries) {
  FlowSummary total;
  total.name = "all";
  for (const FlowSummary& summary : summaries) {
    total.requests += summary.requests;
    total.answered += summary.answered;
    total.failed += summary.failed;
    total.left_out += summary.left_out;
    total.held += summary.held;
    total.lost += summary.lost;
    total.sent_again += summary.sent_again;
    total.worst_latency = std::max(total.worst_latency, summary.worst_latency);
    total.worst_gap = std::max(total.worst_gap, summary.worst_gap);
    for (const auto& [name, count] : summary.by_name) total.by_name[name] += count;
    for (const TrafficFailure& failure : summary.failures) {
      total.failures.push_back(
          {failure.when, failure.outcome, absl::StrCat(summary.name, ": ", failure.what)});
    }
  }
  return total;
}

// The clients of one namespace, in its thread.
class Traffic::Client {
 public:
  Client(Traffic& traffic, const NetNamespace* net) : traffic_(traffic) {
    for (size_t flow = 0; flow < traffic.flows_.size(); ++flow) {
      if (traffic.flows_[flow].net != net) continue;
      if (traffic.flows_[flow].per_second > 0) paced_.push_back({flow, traffic.start_});
      for (int i = 0; i < traffic.flows_[flow].held; ++i) {
        // Not all in one moment.
        const absl::Time first =
            traffic.start_ + Traffic::kHeldInterval * i / traffic.flows_[flow].held;
        channels_.push_back({.flow = flow, .held = i, .next = first});
      }
    }
  }

  ~Client() {
    for (const Channel& channel : channels_) {
      if (channel.socket >= 0) ::close(channel.socket);
    }
  }

  void Run() {
    while (true) {
      const bool stopping = traffic_.stopping_;
      const absl::Time now = absl::Now();
      if (!stopping) BeginDue(now);
      for (Channel& channel : channels_) {
        if (channel.under_way && channel.deadline <= now) {
          Fail(channel, Outcome::kTimeout,
               channel.connecting ? "connect: timed out" : "no answer in time");
        }
      }
      channels_.remove_if([](const Channel& channel) { return channel.done; });
      if (stopping && std::none_of(channels_.begin(), channels_.end(),
                                   [](const Channel& channel) { return channel.under_way; })) {
        return;
      }
      Poll(NextTime(stopping) - now);
    }
  }

 private:
  struct Paced {
    size_t flow;
    absl::Time next;
    int under_way = 0;
  };
  // A socket with at most one request under way.
  struct Channel {
    size_t flow = 0;
    Paced* paced = nullptr;  // for one request only
    int held = -1;           // or its number among those of the flow
    int socket = -1;
    bool under_way = false;   // a request
    bool connecting = false;  // for it
    bool done = false;
    absl::Time began = {};
    absl::Time deadline = {};
    absl::Time next = {};  // request of one that is held
    std::string unread = {};
    int64_t sent_again = 0;  // as last read
  };

  const Flow& FlowOf(const Channel& channel) const { return traffic_.flows_[channel.flow]; }

  void BeginDue(absl::Time now) {
    for (Paced& paced : paced_) {
      const absl::Duration interval = absl::Seconds(1) / traffic_.flows_[paced.flow].per_second;
      paced.next = std::max(paced.next, now - interval * kMaxBurst);
      for (; paced.next <= now; paced.next += interval) {
        if (paced.under_way >= kMaxUnderWay) {
          traffic_.CountLeftOut(paced.flow);
          continue;
        }
        ++paced.under_way;
        channels_.push_back({.flow = paced.flow, .paced = &paced});
        Begin(channels_.back(), now);
      }
    }
    for (Channel& channel : channels_) {
      if (channel.held < 0 || channel.done || channel.under_way || channel.next > now) continue;
      channel.next = std::max(channel.next + kHeldInterval, now);
      Begin(channel, now);
    }
  }

  void Begin(Channel& channel, absl::Time now) {
    traffic_.CountRequest(channel.flow);
    channel.under_way = true;
    channel.began = now;
    channel.deadline =
        now + (FlowOf(channel).transport == Transport::kTcp ? kTcpPatience : kUdpPatience);
    if (channel.socket >= 0) return Ask(channel);
    const Flow& flow = FlowOf(channel);
    const absl::StatusOr<SocketAddress> peer = ParseSocketAddress(flow.address, flow.port);
    if (!peer.ok()) return Fail(channel, Outcome::kError, std::string(peer.status().message()));
    const int type = flow.transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM;
    channel.socket = ::socket(peer->family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (channel.socket < 0) return FailWith(channel, errno, "socket");
    if (::connect(channel.socket, peer->get(), peer->size) == 0) return Ask(channel);
    if (errno != EINPROGRESS) return FailWith(channel, errno, "connect");
    channel.connecting = true;
  }

  void Ask(Channel& channel) {
    channel.connecting = false;
    const bool tcp = FlowOf(channel).transport == Transport::kTcp;
    const std::string request =
        !tcp ? "hello"
             : absl::StrCat("GET / HTTP/1.1\r\nHost: lab\r\n",
                            channel.held < 0 ? "Connection: close\r\n" : "", "\r\n");
    // A request fits the send buffer.
    if (::send(channel.socket, request.data(), request.size(), MSG_NOSIGNAL) < 0) {
      return FailWith(channel, errno, "send");
    }
  }

  // Waits until a socket has something to say.
  void Poll(absl::Duration wait) {
    std::vector<pollfd> sockets;
    std::vector<Channel*> owners;
    for (Channel& channel : channels_) {
      // One that is idle is looked at too: its peer may end it.
      if (channel.done || channel.socket < 0) continue;
      const short events = channel.connecting ? POLLOUT : POLLIN;
      sockets.push_back({channel.socket, events, 0});
      owners.push_back(&channel);
    }
    const absl::Duration left =
        absl::Ceil(std::clamp(wait, absl::ZeroDuration(), kLongestWait), absl::Milliseconds(1));
    if (::poll(sockets.data(), sockets.size(), static_cast<int>(absl::ToInt64Milliseconds(left))) <=
        0) {
      return;
    }
    for (size_t i = 0; i < sockets.size(); ++i) {
      if (sockets[i].revents == 0) continue;
      if (owners[i]->connecting) {
        FinishConnecting(*owners[i]);
      } else {
        Read(*owners[i]);
      }
    }
  }

  absl::Time NextTime(bool stopping) const {
    absl::Time next = absl::InfiniteFuture();
    for (const Channel& channel : channels_) {
      if (channel.under_way) {
        next = std::min(next, channel.deadline);
      } else if (channel.held >= 0 && !stopping) {
        next = std::min(next, channel.next);
      }
    }
    for (const Paced& paced : paced_) {
      if (!stopping) next = std::min(next, paced.next);
    }
    return next;
  }

  void FinishConnecting(Channel& channel) {
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(channel.socket, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return FailWith(channel, error, "connect");
    Ask(channel);
  }

  void Read(Channel& channel) {
    char data[2048];
    const ssize_t size = ::recv(channel.socket, data, sizeof(data), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) return FailWith(channel, errno, channel.under_way ? "receive" : "while idle");
    if (size == 0) {
      return Fail(channel, Outcome::kReset,
                  channel.under_way ? "closed before the answer" : "closed while idle");
    }
    const Transport transport = FlowOf(channel).transport;
    channel.unread.append(data, static_cast<size_t>(size));
    const std::optional<std::string> name = NameIn(channel.unread, transport);
    if (!name) return;
    channel.unread.clear();
    // An answer that has come too late was counted as failed.
    if (!channel.under_way) return;
    channel.under_way = false;
    const int64_t again = transport == Transport::kTcp ? SentAgain(channel.socket) : 0;
    traffic_.CountAnswer(channel.flow, channel.held, *name, channel.began,
                         again > channel.sent_again);
    channel.sent_again = again;
    if (channel.held < 0) Close(channel);
  }

  void FailWith(Channel& channel, int error, absl::string_view what) {
    Fail(channel, OutcomeOf(error), absl::StrCat(what, ": ", std::strerror(error)));
  }

  void Fail(Channel& channel, Outcome outcome, const std::string& what) {
    const bool datagrams = FlowOf(channel).transport == Transport::kUdp;
    traffic_.CountFailure(channel.flow, channel.held, channel.under_way, outcome, what);
    channel.under_way = channel.connecting = false;
    // The socket of datagrams is as good as before.
    if (datagrams && channel.held >= 0 && channel.socket >= 0) return;
    // What is held and cannot be had is lost: whoever wants a connection later holds another.
    Close(channel);
  }

  static void Close(Channel& channel) {
    if (channel.paced != nullptr) --channel.paced->under_way;
    if (channel.socket >= 0) ::close(channel.socket);
    channel.socket = -1;
    channel.done = true;
  }

  Traffic& traffic_;
  std::vector<Paced> paced_;  // Of the constructor; channels point to them.
  std::list<Channel> channels_;
};

Traffic::Traffic(std::vector<Flow> flows) : flows_(std::move(flows)), start_(absl::Now()) {
  std::vector<const NetNamespace*> nets;
  for (const Flow& flow : flows_) {
    FlowState state;
    state.summary.name = flow.name;
    state.summary.held = flow.held;
    state.last_answer = start_;
    state.connections.resize(static_cast<size_t>(flow.held));
    states_.push_back(std::move(state));
    if (std::find(nets.begin(), nets.end(), flow.net) == nets.end()) nets.push_back(flow.net);
  }
  for (const NetNamespace* net : nets) {
    threads_.emplace_back([this, net] { net->Run([this, net] { Client(*this, net).Run(); }); });
  }
}

Traffic::~Traffic() { Stop(); }

void Traffic::Note(std::string what) {
  const std::lock_guard lock(mutex_);
  notes_.emplace_back(absl::Now(), std::move(what));
}

std::vector<FlowSummary> Traffic::Summaries() const {
  std::vector<FlowSummary> summaries;
  for (size_t flow = 0; flow < flows_.size(); ++flow) summaries.push_back(Summary(flow));
  return summaries;
}

FlowSummary Traffic::Summary(size_t flow) const {
  const std::lock_guard lock(mutex_);
  const FlowState& state = states_.at(flow);
  FlowSummary summary = state.summary;
  if (stopped_) return summary;
  const absl::Time now = absl::Now();
  if (flows_[flow].per_second > 0) {
    summary.worst_gap = std::max(summary.worst_gap, now - state.last_answer);
  }
  for (const HeldConnection& held : state.connections) {
    if (!held.ended) {
      summary.worst_gap = std::max(summary.worst_gap, now - held.answered.value_or(start_));
    }
  }
  return summary;
}

std::vector<HeldConnection> Traffic::Connections(size_t flow) const {
  const std::lock_guard lock(mutex_);
  return states_.at(flow).connections;
}

bool Traffic::AwaitAnswers(absl::Duration limit) {
  const absl::Time called = absl::Now();
  const auto answered = [&](const FlowState& state, const Flow& flow) {
    if (flow.per_second > 0 && state.last_answer <= called) return false;
    return std::all_of(state.connections.begin(), state.connections.end(),
                       [&](const HeldConnection& held) {
                         return held.ended || (held.answered && *held.answered > called);
                       });
  };
  return WaitUntil(limit, [&] {
    const std::lock_guard lock(mutex_);
    for (size_t flow = 0; flow < flows_.size(); ++flow) {
      if (!answered(states_[flow], flows_[flow])) return false;
    }
    return true;
  });
}

std::vector<FlowSummary> Traffic::Stop() {
  if (!stopping_) {
    for (size_t flow = 0; flow < flows_.size(); ++flow) {
      // With what is missing until now.
      const absl::Duration gap = Summary(flow).worst_gap;
      const std::lock_guard lock(mutex_);
      states_[flow].summary.worst_gap = gap;
    }
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  return Summaries();
}

void Traffic::CountRequest(size_t flow) {
  const std::lock_guard lock(mutex_);
  ++states_[flow].summary.requests;
}

void Traffic::CountLeftOut(size_t flow) {
  const std::lock_guard lock(mutex_);
  ++states_[flow].summary.left_out;
}

void Traffic::CountAnswer(size_t flow, int held, const std::string& name, absl::Time began,
                          bool again) {
  const absl::Time now = absl::Now();
  const std::lock_guard lock(mutex_);
  FlowState& state = states_[flow];
  FlowSummary& summary = state.summary;
  ++summary.answered;
  ++summary.by_name[name];
  summary.sent_again += again ? 1 : 0;
  summary.worst_latency = std::max(summary.worst_latency, now - began);
  absl::Time before = state.last_answer;
  if (held >= 0) {
    HeldConnection& connection = state.connections[static_cast<size_t>(held)];
    before = connection.answered.value_or(start_);
    connection.answered = now;
    connection.name = name;
    ++connection.answers;
  } else {
    state.last_answer = now;
  }
  summary.worst_gap = std::max(summary.worst_gap, now - before);
}

void Traffic::CountFailure(size_t flow, int held, bool asked, Outcome outcome,
                           const std::string& what) {
  const absl::Time now = absl::Now();
  const std::lock_guard lock(mutex_);
  FlowState& state = states_[flow];
  state.summary.failed += asked ? 1 : 0;
  if (held >= 0 && flows_[flow].transport == Transport::kTcp) {
    ++state.summary.lost;
    state.connections[static_cast<size_t>(held)].ended = now;
  }
  if (state.summary.failures.size() >= kMaxFailures) return;
  std::string text = absl::StrCat(what, ", after ", Brief(now - start_));
  if (!notes_.empty()) {
    absl::StrAppend(&text, ", ", Brief(now - notes_.back().first),
                    " after: ", notes_.back().second);
  }
  state.summary.failures.push_back({now, outcome, std::move(text)});
}

}  // namespace fairlead::lab

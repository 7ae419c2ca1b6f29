#include "proxy/cli/top_view.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proxy/cli/list_server.h"

namespace fairlead {
namespace {

// The numbers, behind the name.
constexpr size_t kNumbersWidth = 40;
constexpr size_t kSmallestName = 16;
// Lines that are no Services: two that sum up, headers, keys.
constexpr size_t kOtherLines = 4;

void Add(const Load& more, Load& load) {
  load.connections_per_second += more.connections_per_second;
  load.active += more.active;
  load.inactive += more.inactive;
  load.bytes_in_per_second += more.bytes_in_per_second;
  load.bytes_out_per_second += more.bytes_out_per_second;
}

Load RatesOf(const v1::Statistics& statistics) {
  return {.connections_per_second = statistics.connections_per_second(),
          .bytes_in_per_second = statistics.bytes_in_per_second(),
          .bytes_out_per_second = statistics.bytes_out_per_second()};
}

Load LoadOf(const v1::RealServer& real) {
  Load load = RatesOf(real.statistics());
  load.active = real.active_connections();
  load.inactive = real.inactive_connections();
  return load;
}

uint64_t RankOf(const Load& load, TopOrder order) {
  switch (order) {
    case TopOrder::kConnectionsPerSecond:
      return load.connections_per_second;
    case TopOrder::kActive:
      return load.active;
    case TopOrder::kBytes:
      return load.bytes_in_per_second + load.bytes_out_per_second;
    case TopOrder::kName:
      break;
  }
  return 0;
}

const char* NameOf(TopOrder order) {
  switch (order) {
    case TopOrder::kConnectionsPerSecond:
      return "connections/s";
    case TopOrder::kActive:
      return "active";
    case TopOrder::kBytes:
      return "bytes/s";
    case TopOrder::kName:
      break;
  }
  return "name";
}

// The busiest first, and of equals by name.
std::vector<const TopService*> Ordered(const std::vector<TopService>& services,
                                       const TopState& state) {
  std::vector<const TopService*> chosen;
  for (const TopService& service : services) {
    if (absl::StrContains(service.name, state.filter)) chosen.push_back(&service);
  }
  std::sort(chosen.begin(), chosen.end(), [&state](const TopService* a, const TopService* b) {
    const uint64_t rank_a = RankOf(a->load, state.order);
    const uint64_t rank_b = RankOf(b->load, state.order);
    if (rank_a != rank_b) return (rank_a > rank_b) != state.reversed;
    return (a->name < b->name) != (state.reversed && state.order == TopOrder::kName);
  });
  return chosen;
}

std::string Cut(std::string text, size_t width) {
  if (text.size() > width) {
    text.resize(width == 0 ? 0 : width - 1);
    if (width > 0) text += '+';
  }
  return text;
}

std::string NumbersOf(const Load& load) {
  return absl::StrFormat("%8s%8s%8s%8s%8s", FormatShort(load.connections_per_second),
                         FormatShort(load.active), FormatShort(load.inactive),
                         FormatShort(load.bytes_in_per_second),
                         FormatShort(load.bytes_out_per_second));
}

std::string Line(const std::string& name, const std::string& numbers, size_t width) {
  const size_t room = std::max(width, kNumbersWidth + kSmallestName) - kNumbersWidth;
  return Cut(absl::StrFormat("%-*s%s", static_cast<int>(room), Cut(name, room), numbers), width);
}

}  // namespace

std::vector<TopService> SumUp(const std::vector<v1::VirtualServer>& servers) {
  std::map<std::string, TopService> services;
  std::map<std::pair<std::string, std::string>, TopEndpoint> endpoints;
  for (const v1::VirtualServer& server : servers) {
    const std::string port = FormatServicePort(server);
    const std::string name = port.empty() ? FormatServerTitle(server) : port;
    TopService& service = services[name];
    service.name = name;
    Add(RatesOf(server.statistics()), service.load);
    for (const v1::RealServer& real : server.real_servers()) {
      const Load load = LoadOf(real);
      service.load.active += load.active;
      service.load.inactive += load.inactive;
      const std::string address = FormatBytesAddressPort(real.address(), real.port());
      TopEndpoint& endpoint = endpoints[{name, address}];
      endpoint.address = address;
      endpoint.target = FormatTarget(real);
      Add(load, endpoint.load);
    }
  }
  for (auto& [key, endpoint] : endpoints) {
    services[key.first].endpoints.push_back(std::move(endpoint));
  }
  std::vector<TopService> all;
  all.reserve(services.size());
  for (auto& [name, service] : services) all.push_back(std::move(service));
  return all;
}

void HandleKey(TopKey key, char character, size_t page, TopState& state) {
  if (state.typing) {
    if (key == TopKey::kCharacter && character >= ' ' && character <= '~') {
      state.filter += character;
      state.first = 0;
    }
    if (key == TopKey::kBackspace && !state.filter.empty()) state.filter.pop_back();
    if (key == TopKey::kEscape) state.filter.clear();
    state.typing = key != TopKey::kEnter && key != TopKey::kEscape;
    return;
  }
  constexpr std::array kOrders = {TopOrder::kConnectionsPerSecond, TopOrder::kActive,
                                  TopOrder::kBytes, TopOrder::kName};
  const auto move_up = [&state](size_t lines) { state.first -= std::min(lines, state.first); };
  switch (key) {
    case TopKey::kUp:
      move_up(1);
      return;
    case TopKey::kDown:
      state.first += 1;
      return;
    case TopKey::kPageUp:
      move_up(page);
      return;
    case TopKey::kPageDown:
      state.first += page;
      return;
    case TopKey::kHome:
      state.first = 0;
      return;
    case TopKey::kEscape:
      state.filter.clear();
      return;
    case TopKey::kBackspace:
    case TopKey::kEnter:
      return;
    case TopKey::kCharacter:
      break;
  }
  switch (character) {
    case 'q':
      state.quit = true;
      return;
    case 's':
      state.order = kOrders[(static_cast<size_t>(state.order) + 1) % kOrders.size()];
      state.first = 0;
      return;
    case 'r':
      state.reversed = !state.reversed;
      return;
    case 'e':
      state.endpoints = !state.endpoints;
      return;
    case '/':
      state.typing = true;
      return;
    case ' ':
      state.paused = !state.paused;
      return;
    default:
      return;
  }
}

std::vector<TopLine> RenderTop(const v1::StatusResponse& status,
                               const std::vector<TopService>& services, const TopScreen& screen,
                               absl::Time now, absl::string_view problem, TopState& state) {
  const std::vector<const TopService*> chosen = Ordered(services, state);
  Load total;
  for (const TopService* service : chosen) Add(service->load, total);

  std::vector<TopLine> body;
  for (const TopService* service : chosen) {
    body.push_back({Line(service->name, NumbersOf(service->load), screen.width),
                    service->load == Load{} ? Tone::kFaint : Tone::kPlain});
    if (!state.endpoints) continue;
    for (const TopEndpoint& endpoint : service->endpoints) {
      const bool draining = absl::StrContains(endpoint.target, "(draining)");
      body.push_back({Line(absl::StrCat("  ", endpoint.address, " ", endpoint.target),
                           NumbersOf(endpoint.load), screen.width),
                      draining ? Tone::kWarning : Tone::kFaint});
    }
  }
  const size_t room = screen.height > kOtherLines ? screen.height - kOtherLines : 0;
  state.first = std::min(state.first, body.size() > room ? body.size() - room : 0);

  std::vector<TopLine> lines;
  const auto add = [&](const std::string& text, Tone tone, bool highlighted) {
    lines.push_back({Cut(text, screen.width), tone, highlighted});
  };
  add(absl::StrCat("fairlead top  ", status.node_name(), "  revision ", status.revision(), "  ",
                   absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()), "  ", chosen.size(),
                   chosen.size() == 1 ? " port of Services" : " ports of Services",
                   state.paused ? "  paused" : ""),
      Tone::kPlain, false);
  if (problem.empty()) {
    add(absl::StrCat(FormatShort(total.connections_per_second), " connections/s  ",
                     FormatShort(total.active), " active  ", FormatShort(total.inactive),
                     " inactive  ", FormatShort(total.bytes_in_per_second), "B/s in  ",
                     FormatShort(total.bytes_out_per_second), "B/s out"),
        Tone::kPlain, false);
  } else {
    add(std::string(problem), Tone::kBad, false);
  }
  std::string headers = Line(
      "SERVICE", absl::StrFormat("%8s%8s%8s%8s%8s", "CONN/S", "ACTIVE", "INACT", "IN/S", "OUT/S"),
      screen.width);
  headers.resize(std::max(headers.size(), screen.width), ' ');
  add(headers, Tone::kPlain, true);
  for (size_t i = state.first; i < body.size() && i < state.first + room; ++i) {
    lines.push_back(body[i]);
  }
  lines.resize(std::max(lines.size(), room + kOtherLines - 1));
  if (state.typing) {
    add(absl::StrCat("filter: ", state.filter, "_"), Tone::kPlain, false);
  } else {
    add(absl::StrCat("q quit  s by ", NameOf(state.order), state.reversed ? ", reversed" : "",
                     "  r reverse  e endpoints  / filter",
                     state.filter.empty() ? "" : absl::StrCat(" \"", state.filter, "\""),
                     "  space pause"),
        Tone::kFaint, false);
  }
  lines.resize(screen.height);
  return lines;
}

std::string FormatShort(uint64_t number) {
  if (number < 10'000) return absl::StrCat(number);
  constexpr char kUnits[] = {'k', 'M', 'G', 'T', 'P'};
  double value = static_cast<double>(number);
  size_t unit = 0;
  for (value /= 1000; value >= 999.95 && unit + 1 < sizeof(kUnits); ++unit) value /= 1000;
  return absl::StrFormat("%.1f%c", value, kUnits[unit]);
}

}  // namespace fairlead

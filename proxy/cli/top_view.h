// What `fairlead top` shows: the busiest Services of a node. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fairlead/v1/inspect.pb.h"
#include "proxy/cli/table.h"

namespace fairlead {

// What the kernel counts, of an endpoint or of a Service's port at all its addresses.
struct Load {
  uint64_t connections_per_second = 0;
  uint64_t active = 0;
  uint64_t inactive = 0;
  uint64_t bytes_in_per_second = 0;
  uint64_t bytes_out_per_second = 0;

  friend bool operator==(const Load&, const Load&) = default;
};

struct TopEndpoint {
  std::string address;  // "10.244.1.2:8080"
  std::string target;   // "cart-1", "on n1"; "(draining)" is part of it.
  Load load;
};

struct TopService {
  std::string name;  // "shop/cart:http"; of one that no Service has, "TCP 10.96.0.10:80".
  Load load;
  std::vector<TopEndpoint> endpoints;  // By their addresses.
};

// A line for each port of a Service: its virtual servers are summed up.
std::vector<TopService> SumUp(const std::vector<v1::VirtualServer>& servers);

enum class TopOrder { kConnectionsPerSecond, kActive, kBytes, kName };

// What the user has chosen.
struct TopState {
  TopOrder order = TopOrder::kConnectionsPerSecond;
  bool reversed = false;
  bool endpoints = false;
  bool paused = false;
  bool quit = false;
  // Services whose name has it, and endpoints' do not count; empty: all.
  std::string filter;
  // The filter is being typed.
  bool typing = false;
  size_t first = 0;  // Line at the top, from 0.

  friend bool operator==(const TopState&, const TopState&) = default;
};

// Keys that are no characters.
enum class TopKey {
  kCharacter,
  kUp,
  kDown,
  kPageUp,
  kPageDown,
  kHome,
  kBackspace,
  kEscape,
  kEnter
};

// `character` is that of kCharacter; `page` how many lines a page has.
void HandleKey(TopKey key, char character, size_t page, TopState& state);

struct TopScreen {
  size_t width = 80;
  size_t height = 24;
};

struct TopLine {
  std::string text;  // No longer than the screen is wide.
  Tone tone = Tone::kPlain;
  bool highlighted = false;

  friend bool operator==(const TopLine&, const TopLine&) = default;
};

// A screen of exactly `height` lines: two that sum up, headers, Services, and the keys. `state`'s
// first line is moved to where there is one. `problem` stands in the second line, where there is
// one.
std::vector<TopLine> RenderTop(const v1::StatusResponse& status,
                               const std::vector<TopService>& services, const TopScreen& screen,
                               absl::Time now, absl::string_view problem, TopState& state);

// "1234", "12.3k", "4.0M": at most six characters.
std::string FormatShort(uint64_t number);

}  // namespace fairlead

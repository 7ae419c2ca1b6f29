#include "proxy/cli/nodes_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proxy/cli/json_time.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

const char* StateOf(const v1::FeedNode& node) {
  if (node.has_left()) return "gone";
  if (!node.has_acked()) return "new";
  return DecodeDuration(node.behind()) > absl::ZeroDuration() ? "behind" : "current";
}

// Short, for a column: two digits or more of the unit that fits.
std::string FormatShort(absl::Duration duration) {
  if (duration < absl::Milliseconds(10)) {
    return absl::StrFormat("%.2fms", absl::ToDoubleMilliseconds(duration));
  }
  if (duration < absl::Seconds(1)) {
    return absl::StrCat(absl::ToInt64Milliseconds(duration), "ms");
  }
  if (duration < absl::Minutes(2)) return absl::StrCat(absl::ToInt64Seconds(duration), "s");
  if (duration < absl::Hours(2)) return absl::StrCat(absl::ToInt64Minutes(duration), "m");
  if (duration < absl::Hours(48)) return absl::StrCat(absl::ToInt64Hours(duration), "h");
  return absl::StrCat(absl::ToInt64Hours(duration) / 24, "d");
}

std::string FormatFailedObject(const v1::Failure& failure) {
  const absl::StatusOr<ObjectId> object = DecodeRef(failure.object());
  return object.ok() ? object->Format() : "?";
}

}  // namespace

std::string FormatNodesText(const v1::WatchStatusResponse& watcher,
                            const std::vector<v1::FeedNode>& nodes, absl::Time now) {
  int connected = 0;
  int current = 0;
  size_t width = 4;
  for (const v1::FeedNode& node : nodes) {
    if (!node.has_left()) ++connected;
    if (StateOf(node) == std::string("current")) ++current;
    width = std::max(width, node.node_name().size());
  }
  std::string text = absl::StrFormat(
      "revision %d, %d objects%s; %d nodes connected, %d of them current\n",
      watcher.head_revision(), watcher.objects(),
      watcher.complete() ? "" : " (the source has not given a whole picture)", connected, current);
  for (const v1::SourceResource& resource : watcher.resources()) {
    if (resource.watching()) continue;
    absl::StrAppend(&text, resource.resource(), " are not watched: ",
                    resource.last_error().empty() ? "no answer yet" : resource.last_error(), "\n");
  }
  const int name_width = static_cast<int>(width);
  absl::StrAppendFormat(&text, "%-*s %-8s %10s %8s %8s %8s %6s %s\n", name_width, "NODE", "STATE",
                        "ACKED", "BEHIND", "TOOK", "FAILING", "SINCE", "PEER");
  for (const v1::FeedNode& node : nodes) {
    const absl::Duration behind = DecodeDuration(node.behind());
    const absl::Time since = DecodeTime(node.has_left() ? node.left() : node.connected());
    absl::StrAppendFormat(
        &text, "%-*s %-8s %10d %8s %8s %8d %6s %s\n", name_width, node.node_name(), StateOf(node),
        node.acked_revision(), behind > absl::ZeroDuration() ? FormatShort(behind) : "-",
        node.has_acked() ? FormatShort(DecodeDuration(node.programming_time())) : "-",
        node.failure_count(), FormatShort(std::max(now - since, absl::ZeroDuration())),
        node.peer());
  }
  for (const v1::FeedNode& node : nodes) {
    for (const v1::Failure& failure : node.failures()) {
      absl::StrAppend(&text, node.node_name(), ": ", FormatFailedObject(failure), ": ",
                      failure.message(), "\n");
    }
  }
  return text;
}

std::string FormatNodesJson(const v1::WatchStatusResponse& watcher,
                            const std::vector<v1::FeedNode>& nodes) {
  nlohmann::ordered_json document = {{"version", watcher.version()},
                                     {"epoch", watcher.epoch()},
                                     {"headRevision", watcher.head_revision()},
                                     {"complete", watcher.complete()},
                                     {"objects", watcher.objects()}};
  document["resources"] = nlohmann::ordered_json::array();
  for (const v1::SourceResource& resource : watcher.resources()) {
    document["resources"].push_back({{"resource", resource.resource()},
                                     {"listed", resource.listed()},
                                     {"watching", resource.watching()},
                                     {"errors", resource.errors()},
                                     {"invalidObjects", resource.invalid_objects()},
                                     {"lastError", resource.last_error()}});
  }
  document["nodes"] = nlohmann::ordered_json::array();
  for (const v1::FeedNode& node : nodes) {
    nlohmann::ordered_json entry = {
        {"node", node.node_name()},
        {"state", StateOf(node)},
        {"agent", node.agent()},
        {"peer", node.peer()},
        {"ackedRevision", node.acked_revision()},
        {"sentRevision", node.sent_revision()},
        {"behindSeconds", absl::ToDoubleSeconds(DecodeDuration(node.behind()))},
        {"programmingSeconds", absl::ToDoubleSeconds(DecodeDuration(node.programming_time()))},
        {"connected", FormatJsonTime(DecodeTime(node.connected()))}};
    if (node.has_left()) {
      entry["left"] = FormatJsonTime(DecodeTime(node.left()));
    } else {
      entry["left"] = nullptr;
    }
    entry["failureCount"] = node.failure_count();
    entry["failures"] = nlohmann::ordered_json::array();
    for (const v1::Failure& failure : node.failures()) {
      entry["failures"].push_back(
          {{"object", FormatFailedObject(failure)}, {"message", failure.message()}});
    }
    document["nodes"].push_back(std::move(entry));
  }
  return document.dump(2) + "\n";
}

}  // namespace fairlead

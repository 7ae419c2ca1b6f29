#include "proxy/cli/nodes_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proxy/cli/json_time.h"
#include "proxy/cli/table.h"
#include "watcher/feed/feed_codec.h"
#include "watcher/feed/proto_time.h"

namespace fairlead {
namespace {

constexpr char kGone[] = "gone";
constexpr char kNew[] = "new";
constexpr char kBehind[] = "behind";
constexpr char kCurrent[] = "current";

absl::string_view StateOf(const v1::FeedNode& node) {
  if (node.has_left()) return kGone;
  if (!node.has_acked()) return kNew;
  return DecodeDuration(node.behind()) > absl::ZeroDuration() ? kBehind : kCurrent;
}

Tone ToneOf(absl::string_view state) {
  if (state == kCurrent) return Tone::kGood;
  if (state == kBehind) return Tone::kWarning;
  return state == kGone ? Tone::kFaint : Tone::kPlain;
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

std::vector<Cell> MakeRow(const v1::FeedNode& node, absl::Time now, bool wide) {
  const absl::string_view state = StateOf(node);
  const absl::Duration behind = DecodeDuration(node.behind());
  const absl::Time since = DecodeTime(node.has_left() ? node.left() : node.connected());
  std::vector<Cell> row = {
      node.node_name(),
      {std::string(state), ToneOf(state)},
      absl::StrCat(node.acked_revision()),
      behind > absl::ZeroDuration() ? FormatShort(behind) : "",
      node.has_acked() ? FormatShort(DecodeDuration(node.programming_time())) : "",
      {absl::StrCat(node.failure_count()), node.failure_count() > 0 ? Tone::kBad : Tone::kPlain},
      FormatShort(std::max(now - since, absl::ZeroDuration())),
      node.peer()};
  if (wide) {
    row.emplace_back(absl::StrCat(node.sent_revision()));
    row.emplace_back(node.agent());
  }
  return row;
}

}  // namespace

std::string FormatNodesText(const v1::WatchStatusResponse& watcher,
                            const std::vector<v1::FeedNode>& nodes, absl::Time now, bool wide,
                            bool color) {
  int connected = 0;
  int current = 0;
  for (const v1::FeedNode& node : nodes) {
    if (!node.has_left()) ++connected;
    if (StateOf(node) == kCurrent) ++current;
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
  constexpr Alignment kRight = Alignment::kRight;
  std::vector<Column> columns = {{"NODE"},           {"STATE"},        {"ACKED", kRight},
                                 {"BEHIND", kRight}, {"TOOK", kRight}, {"FAILING", kRight},
                                 {"SINCE", kRight},  {"PEER"}};
  if (wide) columns.insert(columns.end(), {{"SENT", kRight}, {"AGENT"}});
  Table table(std::move(columns), color);
  for (const v1::FeedNode& node : nodes) table.AddRow(MakeRow(node, now, wide));
  text += table.Take();
  for (const v1::FeedNode& node : nodes) {
    for (const v1::Failure& failure : node.failures()) {
      absl::StrAppend(&text, node.node_name(), ": ", FormatFailedObject(failure), ": ",
                      failure.message(), "\n");
    }
  }
  return text;
}

std::string FormatNodesDocument(const v1::WatchStatusResponse& watcher,
                                const std::vector<v1::FeedNode>& nodes, Output output) {
  Document document = {{"version", watcher.version()},
                       {"epoch", watcher.epoch()},
                       {"headRevision", watcher.head_revision()},
                       {"complete", watcher.complete()},
                       {"objects", watcher.objects()}};
  document["resources"] = Document::array();
  for (const v1::SourceResource& resource : watcher.resources()) {
    document["resources"].push_back({{"resource", resource.resource()},
                                     {"listed", resource.listed()},
                                     {"watching", resource.watching()},
                                     {"errors", resource.errors()},
                                     {"invalidObjects", resource.invalid_objects()},
                                     {"lastError", resource.last_error()}});
  }
  document["nodes"] = Document::array();
  for (const v1::FeedNode& node : nodes) {
    Document entry = {
        {"node", node.node_name()},
        {"state", std::string(StateOf(node))},
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
    entry["failures"] = Document::array();
    for (const v1::Failure& failure : node.failures()) {
      entry["failures"].push_back(
          {{"object", FormatFailedObject(failure)}, {"message", failure.message()}});
    }
    document["nodes"].push_back(std::move(entry));
  }
  return FormatDocument(document, output);
}

}  // namespace fairlead

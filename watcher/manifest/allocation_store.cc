#include "watcher/manifest/allocation_store.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "watcher/manifest/files.h"

namespace fairlead {
namespace {

using nlohmann::json;

// The file of some ten thousand Services is one or two MiB.
constexpr size_t kMaxAllocationsBytes = 64 << 20;

std::optional<uint16_t> ParsePortNumber(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<uint64_t>();
  if (number < 1 || number > 65535) return std::nullopt;
  return static_cast<uint16_t>(number);
}

// "80/TCP".
std::optional<manifest::PortProtocol> ParsePortKey(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '/');
  uint32_t number = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &number) || number < 1 || number > 65535) {
    return std::nullopt;
  }
  const absl::StatusOr<ipvs::Protocol> protocol = ipvs::ParseProtocol(parts[1]);
  if (!protocol.ok()) return std::nullopt;
  return manifest::PortProtocol{static_cast<uint16_t>(number), *protocol};
}

bool ParseService(const json& value, ServiceAllocation* allocation) {
  if (!value.is_object()) return false;
  for (const auto& [key, field] : value.items()) {
    if (key == "cluster_ips" && field.is_array()) {
      for (const json& item : field) {
        if (!item.is_string()) return false;
        const absl::StatusOr<IpAddress> address = IpAddress::Parse(item.get<std::string>());
        if (!address.ok()) return false;
        allocation->cluster_ips.push_back(*address);
      }
    } else if (key == "node_ports" && field.is_object()) {
      for (const auto& [port_text, number_value] : field.items()) {
        const std::optional<manifest::PortProtocol> port = ParsePortKey(port_text);
        const std::optional<uint16_t> number = ParsePortNumber(number_value);
        if (!port.has_value() || !number.has_value()) return false;
        allocation->node_ports[*port] = *number;
      }
    } else if (key == "health_check_node_port") {
      const std::optional<uint16_t> number = ParsePortNumber(field);
      if (!number.has_value()) return false;
      allocation->health_check_node_port = *number;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string FormatAllocations(const Allocations& allocations) {
  json services = json::object();
  for (const auto& [name, allocation] : allocations) {
    json service = json::object();
    for (const IpAddress& address : allocation.cluster_ips) {
      service["cluster_ips"].push_back(address.Format());
    }
    for (const auto& [port, number] : allocation.node_ports) {
      service["node_ports"][absl::StrCat(port.first, "/", ipvs::FormatProtocol(port.second))] =
          number;
    }
    if (allocation.health_check_node_port != 0) {
      service["health_check_node_port"] = allocation.health_check_node_port;
    }
    services[name.Format()] = std::move(service);
  }
  return json{{"format", kAllocationsFormat}, {"services", std::move(services)}}.dump(1) + "\n";
}

absl::StatusOr<Allocations> ParseAllocations(absl::string_view text) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return absl::InvalidArgumentError("is not valid JSON");
  if (!root.is_object() || !root.contains("format") || !root.contains("services") ||
      !root["services"].is_object()) {
    return absl::InvalidArgumentError("is not a file of allocations");
  }
  if (root["format"] != kAllocationsFormat) {
    return absl::InvalidArgumentError(
        absl::StrCat("has format ", root["format"].dump(), ", not ", kAllocationsFormat));
  }
  Allocations allocations;
  for (const auto& [name, value] : root["services"].items()) {
    const std::vector<std::string> parts = absl::StrSplit(name, '/');
    ServiceAllocation allocation;
    if (parts.size() != 2 || !ParseService(value, &allocation)) {
      return absl::InvalidArgumentError(
          absl::StrCat("holds an invalid entry for Service \"", name, "\""));
    }
    allocations[{parts[0], parts[1]}] = std::move(allocation);
  }
  return allocations;
}

AllocationStore::AllocationStore(std::string state_dir, bool read_only)
    : state_dir_(std::move(state_dir)),
      path_(state_dir_.empty() ? "" : absl::StrCat(state_dir_, "/", kAllocationsFile)),
      read_only_(read_only) {}

Allocations AllocationStore::Load(std::vector<Problem>* problems) {
  if (state_dir_.empty()) return {};
  const absl::StatusOr<std::string> text = manifest::ReadManifest(path_, kMaxAllocationsBytes);
  if (absl::IsNotFound(text.status())) return {};
  absl::StatusOr<Allocations> allocations =
      text.ok() ? ParseAllocations(*text) : absl::StatusOr<Allocations>(text.status());
  if (allocations.ok()) {
    saved_ = *text;
    return *std::move(allocations);
  }
  std::string message =
      absl::StrCat(text.ok() ? "" : "cannot be read: ", allocations.status().message());
  if (!read_only_) {
    const std::string aside = path_ + ".damaged";
    const absl::Status status = manifest::RenameFile(path_, aside);
    absl::StrAppend(&message, status.ok() ? "; set aside as " : "; could not be set aside as ",
                    aside);
  }
  absl::StrAppend(&message, "; addresses and node ports are given out anew");
  problems->push_back({Severity::kError, path_, 0, "", "", std::move(message)});
  return {};
}

absl::Status AllocationStore::Save(const Allocations& allocations) {
  if (state_dir_.empty() || read_only_) return absl::OkStatus();
  std::string text = FormatAllocations(allocations);
  if (text == saved_ || (saved_.empty() && allocations.empty())) return absl::OkStatus();
  absl::Status status = manifest::WriteFileAtomically(path_, text);
  if (status.ok()) saved_ = std::move(text);
  return status;
}

}  // namespace fairlead

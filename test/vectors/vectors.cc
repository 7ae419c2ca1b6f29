#include "test/vectors/vectors.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fairlead::vectors {

absl::string_view FormatVerdict(Verdict verdict) {
  switch (verdict) {
    case Verdict::kBalance:
      return "balance";
    case Verdict::kReject:
      return "reject";
    case Verdict::kDrop:
      return "drop";
    case Verdict::kNone:
      return "none";
  }
  return "unknown verdict";
}

std::string Expected::Format() const {
  if (verdict != Verdict::kBalance) return std::string(FormatVerdict(verdict));
  return absl::StrCat(one_of ? "one of " : "",
                      absl::StrJoin(endpoints, ", ", [](std::string* out, const auto& endpoint) {
                        absl::StrAppend(out, endpoint.first, endpoint.second ? " masq" : "");
                      }));
}

std::string Case::Destination() const {
  return absl::StrCat(FormatAddressPort(address, port), "/",
                      absl::AsciiStrToLower(ipvs::FormatProtocol(protocol)));
}

std::string Case::Format() const {
  return absl::StrCat(file, ", run ", run, ": ", row, ", from ", source.column, ", ",
                      FormatFamily(address.family()), " ", Destination());
}

const std::vector<StagePod>& StagePods() {
  static const auto& pods = *new std::vector<StagePod>{
      {"web-1", 1, "10.244.1.2", "fd44:1::2", "pod2", true},
      {"web-3", 1, "10.244.1.3", "fd44:1::3", "pod3", true},
      {"client-1", 1, "10.244.1.4", "fd44:1::4", "pod4", false},
      {"web-2", 2, "10.244.2.2", "fd44:2::2", "pod2", true},
      {"web-4", 2, "10.244.2.3", "fd44:2::3", "pod3", true},
  };
  return pods;
}

std::vector<std::string> NodeFlags() {
  return {"--node-name", "n1", "--node-ip", kNode4, "--node-ip", kNode6};
}

const StagePod* FindPod(absl::string_view name) {
  for (const StagePod& pod : StagePods()) {
    if (pod.name == name) return &pod;
  }
  return nullptr;
}

std::string EndpointAddress(absl::string_view endpoint, IpFamily family) {
  const size_t colon = endpoint.find(':');
  const StagePod& pod = *FindPod(endpoint.substr(0, colon));
  const absl::string_view port = endpoint.substr(colon);
  return family == IpFamily::kIpv4 ? absl::StrCat(pod.ipv4, port)
                                   : absl::StrCat("[", pod.ipv6, "]", port);
}

}  // namespace fairlead::vectors

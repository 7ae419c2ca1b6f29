#include "proxy/cli/kube_proxy_config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "watcher/manifest/field.h"
#include "watcher/manifest/parse.h"
#include "watcher/model.h"

namespace fairlead {
namespace {

using manifest::Field;
using manifest::Findings;
using manifest::Quote;
using manifest::Value;

constexpr char kApiVersion[] = "kubeproxy.config.k8s.io/v1alpha1";
constexpr char kKind[] = "KubeProxyConfiguration";
constexpr int kHealthzPort = 10256;
constexpr int kMetricsPort = 10249;
// klog's verbosity from which kube-proxy tells of each step.
constexpr int64_t kVerbose = 4;

// pkg/proxy/apis/config/v1alpha1/defaults.go.
constexpr int32_t kConntrackMaxPerCore = 32 * 1024;
constexpr int32_t kConntrackMin = 128 * 1024;
constexpr absl::Duration kTcpEstablishedTimeout = absl::Hours(24);
constexpr absl::Duration kTcpCloseWaitTimeout = absl::Hours(1);

bool IsZeroText(absl::string_view text) {
  absl::Duration duration;
  return text.empty() || text == "false" ||
         (absl::ParseDuration(text, &duration) && duration == absl::ZeroDuration());
}

// Whether a field says nothing: configurations that programs write have all fields.
bool IsZero(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull:
      return true;
    case Value::Kind::kScalar:
      return IsZeroText(value.text);
    case Value::Kind::kList:
      return value.items.empty();
    case Value::Kind::kMap:
      return std::all_of(value.fields.begin(), value.fields.end(),
                         [](const auto& field) { return IsZero(*field.second); });
  }
  return false;
}

// One object of the file: hands out its fields, and knows which nobody asked for.
class Section {
 public:
  Section(Field field, std::vector<IgnoredField>& ignored)
      : field_(std::move(field)), is_map_(field_.IsMap()), ignored_(ignored) {}

  // A field that is there and says something; absent otherwise.
  Field Get(absl::string_view key) {
    known_.emplace(key);
    return is_map_ ? field_.Get(key) : Field(nullptr, nullptr);
  }

  Section Object(absl::string_view key) { return Section(Get(key), ignored_); }

  std::string Text(absl::string_view key) { return Get(key).String().value_or(""); }
  bool Flag(absl::string_view key) { return Get(key).Bool().value_or(false); }

  std::optional<int32_t> Number(absl::string_view key) {
    const Field field = Get(key);
    const std::optional<int64_t> number = field.Integer();
    if (!number) return std::nullopt;
    if (*number >= 0 && *number <= std::numeric_limits<int32_t>::max()) {
      return static_cast<int32_t>(*number);
    }
    field.Error(absl::StrCat(*number, " is not between 0 and 2147483647"));
    return std::nullopt;
  }

  // As Go writes it; unset for null.
  std::optional<absl::Duration> Duration(absl::string_view key) {
    const Field field = Get(key);
    const std::optional<std::string> text = field.String();
    if (!text) return std::nullopt;
    absl::Duration duration;
    if (!absl::ParseDuration(*text, &duration) || duration == absl::InfiniteDuration() ||
        duration < absl::ZeroDuration()) {
      field.Error(absl::StrCat(Quote(*text), " is no duration such as 90s or 1h30m"));
      return std::nullopt;
    }
    return duration;
  }
  absl::Duration DurationOrZero(absl::string_view key) {
    return Duration(key).value_or(absl::ZeroDuration());
  }

  std::vector<std::string> Texts(absl::string_view key) {
    std::vector<std::string> texts;
    for (const Field& item : Get(key).Items()) {
      if (const std::optional<std::string> text = item.String()) texts.push_back(*text);
    }
    return texts;
  }

  // A field that has no effect: it is named where it says something.
  void Ignore(absl::string_view key, absl::string_view reason) {
    const Field field = Get(key);
    if (field.present() && !IsZero(field.value())) Note(field, reason);
  }
  void IgnoreAll(const std::vector<absl::string_view>& keys, absl::string_view reason) {
    for (const absl::string_view key : keys) Ignore(key, reason);
  }

  void Note(const Field& field, absl::string_view reason) {
    ignored_.push_back({field.path(), std::string(reason)});
  }

  // Reports the fields that nobody asked for. To be called last.
  void Finish() {
    if (!is_map_) return;
    for (const auto& [key, value] : field_.value().fields) {
      if (!known_.contains(key)) {
        field_.Get(key).Error(absl::StrCat("no field of ", kApiVersion));
      }
    }
  }

 private:
  const Field field_;
  const bool is_map_;
  std::set<std::string, std::less<>> known_;
  std::vector<IgnoredField>& ignored_;
};

constexpr char kNoWindows[] = "it is of Windows";
constexpr char kNoMark[] = "the masquerade needs no mark";
constexpr char kAtOnce[] = "changes are applied as they come, those that wait together";

// The addresses that kube-proxy serves on, where it is given one without a port.
std::string WithPort(const std::string& address, int port) {
  if (address.empty() || ParseAddressPort(address).ok()) return address;
  const absl::StatusOr<IpAddress> parsed = IpAddress::Parse(address);
  if (!parsed.ok()) return address;
  return parsed->is_v4() ? absl::StrCat(address, ":", port)
                         : absl::StrCat("[", address, "]:", port);
}

void ReadAddresses(Section& root, KubeProxyConfig& config) {
  config.hostname_override = root.Text("hostnameOverride");
  const Field bind = root.Get("bindAddress");
  const std::string bind_text = bind.String().value_or("");
  bool v6 = false;
  if (!bind_text.empty()) {
    const absl::StatusOr<IpAddress> address = IpAddress::Parse(bind_text);
    if (!address.ok()) {
      bind.Error(absl::StrCat(Quote(bind_text), " is not an IP address"));
    } else {
      v6 = !address->is_v4();
      if (!address->IsUnspecified()) config.node_ip = bind_text;
    }
  }
  const auto read = [&root](const char* key, int port) {
    const Field field = root.Get(key);
    const std::string text = WithPort(field.String().value_or(""), port);
    if (!text.empty() && !ParseAddressPort(text).ok()) {
      field.Error(absl::StrCat(Quote(text), " is not an address with a port, as 0.0.0.0:", port));
    }
    return text;
  };
  config.healthz_bind_address = read("healthzBindAddress", kHealthzPort);
  config.metrics_bind_address = read("metricsBindAddress", kMetricsPort);
  // Health is served for both families by default, whatever bindAddress says.
  if (config.metrics_bind_address.empty() && v6) {
    config.metrics_bind_address = absl::StrCat("[::1]:", kMetricsPort);
  }
  root.Ignore("bindAddressHardFail", "an address that cannot be bound ends the start in any case");
}

void ReadClientConnection(Section client, KubeProxyConfig& config) {
  config.kubeconfig = client.Text("kubeconfig");
  client.IgnoreAll({"acceptContentTypes", "contentType"}, "the API server is asked for JSON");
  client.IgnoreAll({"qps", "burst"}, "lists and watches are few; nothing has to be held back");
  client.Finish();
}

void ReadLogging(Section logging, KubeProxyConfig& config) {
  const Field format = logging.Get("format");
  const std::string name = format.String().value_or("");
  if (!name.empty() && name != "text") logging.Note(format, "messages are text");
  const Field verbosity = logging.Get("verbosity");
  config.verbose = verbosity.Integer().value_or(0) >= kVerbose;
  logging.IgnoreAll({"flushFrequency", "options"}, "each message is written at once, to stderr");
  logging.Ignore("vmodule", "it names kube-proxy's source files");
  logging.Finish();
}

// masqueradeAll and syncPeriod are of the section of the mode; of the IPVS mode the former is in
// that of iptables (pkg/proxy/apis/config/v1alpha1/conversion.go).
void ReadModes(Section& root, KubeProxyConfig& config) {
  const Field mode = root.Get("mode");
  config.mode = mode.String().value_or("");
  const std::string active = config.mode.empty() ? "iptables" : config.mode;
  if (active != "iptables" && active != "ipvs" && active != "nftables") {
    mode.Error(absl::StrCat(Quote(active), " is not a mode of Linux (ipvs, iptables, nftables)"));
  } else if (!config.mode.empty() && active != "ipvs") {
    root.Note(mode, "Services are balanced by IPVS; what is left of this mode is removed");
  }
  const std::string other = absl::StrCat("the mode is ", active);
  const auto read_masquerade = [&](Section& section, const char* owner) {
    if (owner == std::string(active == "nftables" ? "nftables" : "iptables")) {
      config.masquerade_all = section.Flag("masqueradeAll");
    } else {
      section.Ignore("masqueradeAll", other);
    }
  };
  const auto read_period = [&](Section& section, const char* owner) {
    if (owner == active) {
      config.sync_period = section.DurationOrZero("syncPeriod");
      section.Ignore("minSyncPeriod", kAtOnce);
    } else {
      section.IgnoreAll({"syncPeriod", "minSyncPeriod"}, other);
    }
  };

  Section iptables = root.Object("iptables");
  read_masquerade(iptables, "iptables");
  read_period(iptables, "iptables");
  iptables.Ignore("masqueradeBit", kNoMark);
  iptables.Ignore("localhostNodePorts", "node ports are not served on loopback addresses");
  iptables.Finish();

  Section nftables = root.Object("nftables");
  read_masquerade(nftables, "nftables");
  read_period(nftables, "nftables");
  nftables.Ignore("masqueradeBit", kNoMark);
  nftables.Finish();

  Section ipvs = root.Object("ipvs");
  read_period(ipvs, "ipvs");
  // What follows had no effect in another mode, and would have one here.
  config.scheduler = ipvs.Text("scheduler");
  ipvs.Ignore("excludeCIDRs", "virtual servers that others made are left alone in any case");
  config.strict_arp = ipvs.Flag("strictARP");
  config.ipvs_tcp_timeout = ipvs.DurationOrZero("tcpTimeout");
  config.ipvs_tcp_fin_timeout = ipvs.DurationOrZero("tcpFinTimeout");
  config.ipvs_udp_timeout = ipvs.DurationOrZero("udpTimeout");
  ipvs.Finish();

  Section winkernel = root.Object("winkernel");
  winkernel.IgnoreAll(
      {"networkName", "sourceVip", "enableDSR", "rootHnsEndpointName", "forwardHealthCheckVip"},
      kNoWindows);
  winkernel.Finish();
  root.Ignore("windowsRunAsService", kNoWindows);
}

void ReadDetectLocal(Section& root, KubeProxyConfig& config) {
  const Field mode = root.Get("detectLocalMode");
  config.detect_local_mode = mode.String().value_or("");
  const std::string active =
      config.detect_local_mode.empty() ? "ClusterCIDR" : config.detect_local_mode;
  const std::set<std::string> modes = {"ClusterCIDR", "NodeCIDR", "BridgeInterface",
                                       "InterfaceNamePrefix"};
  if (!modes.contains(active)) {
    mode.Error(absl::StrCat(Quote(active), " is none of ", absl::StrJoin(modes, ", ")));
  }
  const std::string unused = absl::StrCat("detectLocalMode is ", active);
  if (active == "ClusterCIDR") {
    for (absl::string_view cidr :
         absl::StrSplit(root.Text("clusterCIDR"), ',', absl::SkipWhitespace())) {
      config.cluster_cidrs.emplace_back(absl::StripAsciiWhitespace(cidr));
    }
  } else {
    root.Ignore("clusterCIDR", unused);
  }
  Section detect = root.Object("detectLocal");
  if (active == "BridgeInterface") {
    config.bridge_interface = detect.Text("bridgeInterface");
  } else {
    detect.Ignore("bridgeInterface", unused);
  }
  if (active == "InterfaceNamePrefix") {
    config.interface_name_prefix = detect.Text("interfaceNamePrefix");
  } else {
    detect.Ignore("interfaceNamePrefix", unused);
  }
  detect.Finish();
  config.node_port_addresses = root.Texts("nodePortAddresses");
}

void ReadConntrack(Section conntrack, KubeProxyConfig& config) {
  config.conntrack_max_per_core = conntrack.Number("maxPerCore").value_or(kConntrackMaxPerCore);
  config.conntrack_min = conntrack.Number("min").value_or(kConntrackMin);
  config.conntrack_tcp_be_liberal = conntrack.Flag("tcpBeLiberal");
  config.conntrack_tcp_established_timeout =
      conntrack.Duration("tcpEstablishedTimeout").value_or(kTcpEstablishedTimeout);
  config.conntrack_tcp_close_wait_timeout =
      conntrack.Duration("tcpCloseWaitTimeout").value_or(kTcpCloseWaitTimeout);
  config.conntrack_udp_timeout = conntrack.DurationOrZero("udpTimeout");
  config.conntrack_udp_stream_timeout = conntrack.DurationOrZero("udpStreamTimeout");
  conntrack.Finish();
}

KubeProxyConfig Read(const Field& document) {
  KubeProxyConfig config;
  Section root(document, config.ignored);
  root.Get("apiVersion");
  root.Get("kind");
  Section gates = root.Object("featureGates");
  if (const Field field = root.Get("featureGates"); field.present()) {
    for (const auto& [name, value] : field.value().fields) {
      // Also one that is off: it says that the default was not wanted.
      if (gates.Get(name).Bool())
        gates.Note(field.Get(name), "it is a gate of kube-proxy's own code");
    }
  }
  ReadClientConnection(root.Object("clientConnection"), config);
  ReadLogging(root.Object("logging"), config);
  ReadAddresses(root, config);
  root.Ignore("enableProfiling", "there is no profiling over HTTP");
  root.Ignore("showHiddenMetricsForVersion", "there are no hidden metrics");
  ReadModes(root, config);
  ReadDetectLocal(root, config);
  root.Ignore("oomScoreAdj",
              "it is for who starts it: OOMScoreAdjust= of the unit, the Pod's class");
  ReadConntrack(root.Object("conntrack"), config);
  root.Ignore("configSyncPeriod", "watches tell of every change; nothing is refreshed by time");
  root.Ignore("portRange", "nor has it in kube-proxy");
  root.Finish();
  return config;
}

absl::Status AsStatus(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  lines.reserve(problems.size());
  for (const Problem& problem : problems) lines.push_back(problem.Format());
  return absl::InvalidArgumentError(absl::StrJoin(lines, "\n"));
}

bool IsScalar(const Value* value, absl::string_view text) {
  return value != nullptr && value->kind == Value::Kind::kScalar && value->text == text;
}

}  // namespace

absl::StatusOr<KubeProxyConfig> ParseKubeProxyConfig(absl::string_view text,
                                                     const std::string& file) {
  const manifest::ParsedText parsed = manifest::ParseDocuments(text, /*prefer_json=*/false);
  std::vector<Problem> problems;
  for (const manifest::ParseFault& fault : parsed.faults) {
    problems.push_back({.file = file, .line = fault.line, .message = fault.message});
  }
  if (!problems.empty()) return AsStatus(problems);
  const Value* found = nullptr;
  for (const manifest::Document& document : parsed.documents) {
    if (!IsScalar(document.root->Find("kind"), kKind)) continue;
    if (found != nullptr) {
      return AsStatus({{.file = file,
                        .line = document.root->line,
                        .message = absl::StrCat("is a second ", kKind)}});
    }
    found = document.root;
  }
  if (found == nullptr) {
    return AsStatus({{.file = file, .message = absl::StrCat("has no document of kind ", kKind)}});
  }
  Findings findings(file);
  const Field document(found, &findings);
  if (!IsScalar(found->Find("apiVersion"), kApiVersion)) {
    document.Get("apiVersion").Error(absl::StrCat("is not ", kApiVersion));
    return AsStatus(findings.Take());
  }
  KubeProxyConfig config = Read(document);
  if (findings.failed()) return AsStatus(findings.Take());
  return config;
}

absl::StatusOr<KubeProxyConfig> LoadKubeProxyConfig(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (file) text << file.rdbuf();
  if (!file || file.bad()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  return ParseKubeProxyConfig(text.str(), path);
}

}  // namespace fairlead

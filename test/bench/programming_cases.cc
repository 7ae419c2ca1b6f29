#include "test/bench/programming_cases.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/bench/need.h"

namespace fairlead::bench {
namespace {

constexpr int kRollingEndpoints = 250;
constexpr int kRollingSteps = 10;
constexpr absl::Duration kRollingPause = absl::Milliseconds(200);
// Changes of kube-proxy's are measured for so long at most, and come alone: it waits between two
// passes, and what comes meanwhile would wait too.
constexpr absl::Duration kChangesBudget = absl::Seconds(40);
constexpr int kKubeProxyChanges = 20;
constexpr int kPairs = 10;
// Changes whose cost is measured as one: the clock of processor time may be as coarse as ticks.
constexpr int kChunk = 20;
constexpr absl::Duration kIdle = absl::Seconds(5);
constexpr absl::Duration kProbePause = absl::Milliseconds(250);
// So much of a processor in a second is idleness, where it lasts.
constexpr absl::Duration kCalm = absl::Milliseconds(150);
constexpr int kCalmSeconds = 3;
constexpr absl::Duration kCalmLimit = absl::Minutes(2);
constexpr absl::Duration kChangePause = absl::Milliseconds(300);

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }
double Seconds(absl::Duration duration) { return absl::ToDoubleSeconds(duration); }

// Of all processors, as a share.
double IdleShare(absl::Duration interval) {
  const auto read = [] {
    std::ifstream file("/proc/stat");
    std::string cpu;
    double total = 0;
    double idle = 0;
    file >> cpu;
    for (int i = 0; i < 8; ++i) {
      double ticks = 0;
      file >> ticks;
      total += ticks;
      if (i == 3 || i == 4) idle += ticks;
    }
    return std::pair(idle, total);
  };
  const auto before = read();
  absl::SleepFor(interval);
  const auto after = read();
  const double total = after.second - before.second;
  return total > 0 ? (after.first - before.first) / total : 0;
}

// The kernel takes a namespace with many virtual servers apart long after its end.
void AwaitIdleMachine() {
  const absl::Time end = absl::Now() + absl::Minutes(2);
  while (IdleShare(absl::Milliseconds(500)) < 0.9 && absl::Now() < end) {
  }
}

std::string LastLines(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  constexpr size_t kBytes = 1500;
  const std::string all = text.str();
  return all.size() <= kBytes ? all : all.substr(all.size() - kBytes);
}

}  // namespace

BenchService ProxyCases::Probe(const CaseOptions& options) {
  return SpecialService("probe", 1, options.endpoints);
}

ProxyCases::ProxyCases(const CaseOptions& options, const ProxyKind& kind, int services,
                       Source& source, KernelCounters& counters, Report& report, Summary& summary)
    : options_(options),
      kind_(kind),
      services_(services),
      source_(source),
      counters_(counters),
      report_(report),
      summary_(summary),
      probe_(Probe(options)),
      log_(absl::StrCat("/tmp/", kind.name, ".log")) {}

bool ProxyCases::Run() {
  report_.Section(
      absl::StrCat(services_, " Services x ", options_.endpoints, " endpoints: ", kind_.name));
  // The one before has left it with other endpoints.
  source_.Update(probe_);
  const bool synced = Try("first sync", &ProxyCases::FirstSync);
  if (synced && Try("restart", &ProxyCases::Restart) &&
      Try("one endpoint changed", &ProxyCases::Changes) &&
      Try("Service added and removed", &ProxyCases::AddAndRemove) &&
      Try("rolling update", &ProxyCases::RollingUpdate)) {
    Try("flood", &ProxyCases::Flood);
  }
  watch_.reset();
  node_->Stop();
  node_.reset();
  if (kind_.fairlead && !kind_.from_api && !content_.servers.empty()) Bare();
  AwaitIdleMachine();
  return synced;
}

bool ProxyCases::Try(const std::string& row, void (ProxyCases::*phase)()) {
  try {
    (this->*phase)();
    return true;
  } catch (const Given& given) {
    report_.Absent(row, given.up);
    return false;
  }
}

void ProxyCases::Row(const std::string& row, const std::string& unit, std::vector<double> values) {
  medians_[row] = Median(values);
  summary_.Add(kind_.name, row, unit, medians_[row]);
  report_.Add(row, unit, std::move(values));
}

ProxyCases::Spent ProxyCases::SpentSince(absl::Duration start, bool without_idle,
                                         double times) const {
  const PhaseCost cost = node_->EndPhase();
  const double idle_seconds =
      without_idle ? Seconds(KernelCounters::Monotonic() - start) / Seconds(kIdle) : 0;
  const auto without = [idle_seconds, times](auto all, auto idle) {
    return std::max(0.0, static_cast<double>(all) - idle_seconds * static_cast<double>(idle)) /
           times;
  };
  const KernelCounts& counts = cost.counts;
  return {.cpu_ms = without(Milliseconds(cost.cpu), Milliseconds(idle_.cpu)),
          .messages = without(counts.messages, idle_.counts.messages),
          .ipvs_writes = static_cast<double>(counts.ipvs_writes) / times,
          .nft_writes = static_cast<double>(counts.nft_writes) / times,
          .route_writes = static_cast<double>(counts.route_writes) / times,
          .ipset_writes = static_cast<double>(counts.ipset_writes) / times,
          .calls = without(counts.system_calls, idle_.counts.system_calls)};
}

void ProxyCases::SpentRows(const std::string& row, const std::vector<Spent>& spent) {
  const auto add = [&](const std::string& what, const std::string& unit, double Spent::*member,
                       bool always = true) {
    std::vector<double> values;
    for (const Spent& one : spent) values.push_back(one.*member);
    if (always || Quantile(values, 1) > 0) Row(absl::StrCat(row, ": ", what), unit, values);
  };
  add("processor time", "ms", &Spent::cpu_ms);
  add("netlink messages", "", &Spent::messages);
  add("writes to IPVS", "", &Spent::ipvs_writes);
  add("writes to nf_tables", "", &Spent::nft_writes);
  add("writes of routes and addresses", "", &Spent::route_writes);
  add("writes to ipsets", "", &Spent::ipset_writes, /*always=*/false);
  add("system calls", "", &Spent::calls);
}

absl::Duration ProxyCases::Quiet() const {
  return kind_.fairlead ? absl::Milliseconds(1200) : absl::Seconds(3);
}

void ProxyCases::AwaitQuiet() {
  const absl::Duration start = KernelCounters::Monotonic();
  while (KernelCounters::Monotonic() - std::max(start, counters_.last_write()) < Quiet()) {
    if (KernelCounters::Monotonic() - start > options_.limit) throw Given{"is never quiet"};
    absl::SleepFor(absl::Milliseconds(50));
  }
}

void ProxyCases::AwaitCalm() {
  // Fairlead's audit goes on all the time; what it has to do is done when it writes no more.
  if (kind_.fairlead) return AwaitQuiet();
  const absl::Duration start = KernelCounters::Monotonic();
  int calm = 0;
  while (calm < kCalmSeconds && KernelCounters::Monotonic() - start < kCalmLimit) {
    const absl::Duration before = counters_.Cpu();
    absl::SleepFor(absl::Seconds(1));
    calm = counters_.Cpu() - before < kCalm ? calm + 1 : 0;
  }
}

bool ProxyCases::IsThere() const {
  if (kind_.backend == Backend::kNftables) return true;
  return node_->VirtualServers() > services_ && node_->Balances(probe_) &&
         node_->Balances(CrowdService(0, options_.endpoints)) &&
         node_->Balances(CrowdService(services_ - 1, options_.endpoints));
}

// By its own account.
bool ProxyCases::HasWorked() const {
  if (kind_.fairlead) return !node_->Ask(10256, "/readyz").empty();
  return node_->Metric("kubeproxy_sync_proxy_rules_duration_seconds_count") > 0;
}

// The whole kernel, which takes a while.
bool ProxyCases::HoldsAll() const {
  if (kind_.backend == Backend::kNftables) {
    const auto map =
        lab::Shell(node_->net(), "nft list map ip kube-proxy service-ips", "", absl::Minutes(5));
    if (!map.ok()) return false;
    int count = 0;
    for (size_t at = map->find(" : goto"); at != std::string::npos;
         at = map->find(" : goto", at + 1)) {
      ++count;
    }
    return count > services_;
  }
  const auto table = node_->net().Run([] { return Need(ipvs::KernelTable::Open())->Dump(); });
  if (!table.ok()) return false;
  size_t real_servers = 0;
  for (const ipvs::VirtualServer& server : *table) real_servers += server.real_servers.size();
  return real_servers >= static_cast<size_t>((services_ + 1) * options_.endpoints);
}

void ProxyCases::AwaitSync(absl::Duration start, bool look) {
  const absl::Duration pause = kind_.fairlead ? absl::Milliseconds(50) : absl::Milliseconds(250);
  bool worked = false;
  absl::Duration worked_at;
  while (true) {
    if (!node_->running()) {
      throw Given{absl::StrCat("it has ended: ", LastLines(log_))};
    }
    if (!worked && IsThere() && HasWorked()) {
      worked = true;
      worked_at = KernelCounters::Monotonic();
    }
    const absl::Duration now = KernelCounters::Monotonic();
    if (worked && now - std::max(worked_at, counters_.last_write()) > Quiet()) {
      if (!look || HoldsAll()) return;
      worked = false;
    }
    if (now - start > options_.limit) {
      throw Given{absl::StrCat("gave up after ", absl::FormatDuration(options_.limit), "; ",
                               node_->VirtualServers(), " virtual servers; ", LastLines(log_))};
    }
    absl::SleepFor(pause);
  }
}

void ProxyCases::FirstSync() {
  const int rounds = kind_.from_api ? 1 : options_.rounds;
  std::vector<double> times;
  std::vector<double> own;
  std::vector<double> writing;
  std::vector<double> resident;
  std::vector<Spent> spent;
  for (int round = 0; round < rounds; ++round) {
    node_.reset();
    AwaitIdleMachine();
    std::system("rm -rf /var/lib/fairlead/bench");
    node_ = std::make_unique<BenchNode>(counters_);
    node_->BeginPhase();
    const absl::Duration start = node_->Start(kind_, log_);
    AwaitSync(start, /*look=*/round == 0);
    spent.push_back(SpentSince(start, /*without_idle=*/false));
    times.push_back(Seconds(counters_.last_write() - start));
    writing.push_back(Seconds(counters_.last_write() - counters_.first_write()));
    resident.push_back(static_cast<double>(node_->ResidentBytes()) / 1e6);
    own.push_back(node_->Metric("kubeproxy_sync_proxy_rules_duration_seconds_sum"));
    if (round + 1 < rounds) node_->Stop();
  }
  Row("first sync: from the start to the last write", "s", times);
  Row("first sync: from the first write to the last", "s", writing);
  Row("first sync: its own passes", "s", own);
  SpentRows("first sync", spent);
  Row("first sync: resident then", "MB", resident);
  if (kind_.fairlead && !kind_.from_api) content_ = ReadContent(node_->net());
}

void ProxyCases::Restart() {
  const int rounds = kind_.from_api ? 1 : options_.rounds;
  std::vector<double> times;
  std::vector<double> own;
  std::vector<Spent> spent;
  for (int round = 0; round < rounds; ++round) {
    node_->Stop();
    AwaitIdleMachine();
    node_->BeginPhase();
    const absl::Duration start = node_->Start(kind_, log_);
    AwaitSync(start, /*look=*/false);
    spent.push_back(SpentSince(start, /*without_idle=*/false));
    own.push_back(node_->Metric("kubeproxy_sync_proxy_rules_duration_seconds_sum"));
    // One that has nothing to write has to be asked.
    times.push_back(kind_.fairlead
                        ? node_->Metric("fairlead_first_sync_seconds{part=\"everything\"}")
                        : Seconds(counters_.last_write() - start));
  }
  Row("restart: from the start until it is done", "s", times);
  Row("restart: its own passes", "s", own);
  SpentRows("restart", spent);
  Row("restart: resident then", "MB", {static_cast<double>(node_->ResidentBytes()) / 1e6});
  if (kind_.fairlead) {
    const Spent& last = spent.back();
    report_.Goal("restart: writes to the node's kernel",
                 last.ipvs_writes + last.nft_writes + last.route_writes, 0);
  }
  AwaitCalm();
  MeasureIdle();
  Row("idle: processor time in a second", "ms", {Milliseconds(idle_.cpu) / Seconds(kIdle)});
  Row("idle: netlink messages in a second", "",
      {static_cast<double>(idle_.counts.messages) / Seconds(kIdle)});
  Row("idle: system calls in a second", "",
      {static_cast<double>(idle_.counts.system_calls) / Seconds(kIdle)});
  if (kind_.backend == Backend::kNftables) watch_ = std::make_unique<NftWatch>(node_->net());
}

void ProxyCases::MeasureIdle() {
  node_->BeginPhase();
  absl::SleepFor(kIdle);
  idle_ = node_->EndPhase();
}

void ProxyCases::Relaunch(const std::vector<std::string>& flags) {
  node_->Stop();
  ProxyKind kind = kind_;
  kind.words.insert(kind.words.end(), flags.begin(), flags.end());
  node_->BeginPhase();
  AwaitSync(node_->Start(kind, log_), /*look=*/false);
  AwaitCalm();
  MeasureIdle();
}

double ProxyCases::AwaitInKernel(const BenchService& service, absl::Duration start) {
  if (watch_ != nullptr) {
    const absl::Duration heard = watch_->Await(service.endpoints.back().address, options_.limit);
    if (heard != absl::InfiniteDuration()) return Milliseconds(heard - start);
  }
  int64_t writes = -1;
  while (watch_ == nullptr && KernelCounters::Monotonic() - start < options_.limit) {
    const int64_t now = counters_.Read().ipvs_writes;
    if (now != writes) {
      writes = now;
      if (node_->Balances(service)) return Milliseconds(counters_.last_write() - start);
    }
    absl::SleepFor(absl::Microseconds(500));
  }
  throw Given{absl::StrCat("gave up after ", absl::FormatDuration(options_.limit), "; ",
                           counters_.Read().writes(), " writes; ", LastLines(log_))};
}

double ProxyCases::AwaitGone(const BenchService& service, absl::Duration start) {
  const int64_t commits = counters_.Read().nft_commits;
  while (KernelCounters::Monotonic() - start < options_.limit) {
    const bool gone =
        watch_ != nullptr ? counters_.Read().nft_commits > commits : !node_->HasServer(service);
    if (gone) return Milliseconds(std::max(counters_.last_write() - start, absl::ZeroDuration()));
    absl::SleepFor(absl::Milliseconds(2));
  }
  throw Given{absl::StrCat("gave up after ", absl::FormatDuration(options_.limit))};
}

void ProxyCases::AwaitNextChange() {
  if (kind_.fairlead) {
    // It has deleted by then what it has replaced.
    absl::SleepFor(kChangePause);
  } else {
    AwaitCalm();
  }
}

ProxyCases::OwnTimes ProxyCases::ReadOwnTimes() const {
  const std::string pass = "kubeproxy_sync_proxy_rules_duration_seconds";
  const std::string programming = "kubeproxy_network_programming_duration_seconds";
  return {.passes = node_->Metric(pass + "_sum"),
          .pass_count = node_->Metric(pass + "_count"),
          .programming = node_->Metric(programming + "_sum"),
          .programming_count = node_->Metric(programming + "_count")};
}

void ProxyCases::ReplaceEndpoint() {
  probe_.endpoints.erase(probe_.endpoints.begin());
  probe_.endpoints.push_back({FreshEndpoint()});
}

void ProxyCases::ChangeEndpoints(int count, std::vector<double>& times,
                                 std::vector<double>& written, std::vector<Spent>& spent) {
  int chunk = 0;
  absl::Duration chunk_start;
  const absl::Duration start = KernelCounters::Monotonic();
  for (int i = 0; i < count; ++i) {
    if (chunk == 0) {
      node_->BeginPhase();
      chunk_start = KernelCounters::Monotonic();
    }
    ReplaceEndpoint();
    const absl::Duration now = KernelCounters::Monotonic();
    source_.Update(probe_);
    written.push_back(Milliseconds(KernelCounters::Monotonic() - now));
    times.push_back(AwaitInKernel(probe_, now));
    AwaitNextChange();
    const bool last = i + 1 == count || KernelCounters::Monotonic() - start > kChangesBudget;
    if (++chunk == kChunk || last) {
      spent.push_back(SpentSince(chunk_start, /*without_idle=*/true, chunk));
      chunk = 0;
    }
    if (last) return;
  }
}

void ProxyCases::Changes() {
  AwaitCalm();
  std::vector<double> times;
  std::vector<double> written;
  std::vector<Spent> spent;
  const OwnTimes before = ReadOwnTimes();
  ChangeEndpoints(kind_.fairlead ? options_.changes : std::min(options_.changes, kKubeProxyChanges),
                  times, written, spent);
  Row("one endpoint: from the source to the kernel", "ms", times);
  Row("one endpoint: of it, the write at the source", "ms", written);
  const OwnTimes after = ReadOwnTimes();
  const auto mean = [this](const std::string& row, double seconds, double times_of_it) {
    if (times_of_it > 0) Row(row, "ms", {seconds * 1000 / times_of_it});
  };
  mean("one endpoint: a pass, by its own account, mean", after.passes - before.passes,
       after.pass_count - before.pass_count);
  mean("one endpoint: from its trigger to the kernel, by its own account, mean",
       after.programming - before.programming, after.programming_count - before.programming_count);
  if (kind_.fairlead) {
    // Its audit reads many times more than a change; without it the change alone is counted.
    Relaunch({"--audit-period", "0"});
    spent.clear();
    ChangeEndpoints(2 * kChunk, times, written, spent);
  }
  SpentRows("one endpoint", spent);
}

void ProxyCases::AddAndRemove() {
  std::vector<double> added;
  std::vector<double> removed;
  AwaitQuiet();
  node_->BeginPhase();
  const absl::Duration start = KernelCounters::Monotonic();
  static int number = 10;
  while (added.size() < kPairs &&
         (added.empty() || KernelCounters::Monotonic() - start < kChangesBudget)) {
    const BenchService service =
        SpecialService(absl::StrCat("added-", number), 10 + number % 200, options_.endpoints);
    ++number;
    absl::Duration now = KernelCounters::Monotonic();
    source_.Add(service);
    added.push_back(AwaitInKernel(service, now));
    AwaitNextChange();
    now = KernelCounters::Monotonic();
    source_.Remove(service);
    removed.push_back(AwaitGone(service, now));
    AwaitNextChange();
  }
  const Spent spent = SpentSince(start, /*without_idle=*/true, static_cast<double>(added.size()));
  Row("Service added: from the source to the kernel", "ms", added);
  Row("Service removed: until it is gone", "ms", removed);
  SpentRows("Service added and removed", {spent});
}

void ProxyCases::RollingUpdate() {
  BenchService service = SpecialService("rolling", 2, kRollingEndpoints);
  const absl::Duration created = KernelCounters::Monotonic();
  source_.Add(service);
  AwaitInKernel(service, created);
  AwaitCalm();
  node_->BeginPhase();
  const absl::Duration start = KernelCounters::Monotonic();
  absl::Duration last;
  for (int step = 0; step < kRollingSteps; ++step) {
    const int count = kRollingEndpoints / kRollingSteps;
    service.endpoints.erase(service.endpoints.begin(), service.endpoints.begin() + count);
    for (int i = 0; i < count; ++i) service.endpoints.push_back({FreshEndpoint()});
    if (step > 0) absl::SleepFor(kRollingPause);
    last = KernelCounters::Monotonic();
    source_.Update(service);
  }
  const double time = AwaitInKernel(service, last);
  AwaitNextChange();
  const Spent spent = SpentSince(start);
  Row("rolling update: last step to the kernel", "ms", {time});
  SpentRows("rolling update", {spent});
  const absl::Duration now = KernelCounters::Monotonic();
  source_.Remove(service);
  AwaitGone(service, now);
  AwaitQuiet();
}

void ProxyCases::Flood() {
  if (kind_.fairlead) Relaunch({});
  std::vector<double> times;
  AwaitQuiet();
  node_->BeginPhase();
  const absl::Duration start = KernelCounters::Monotonic();
  source_.StartFlood(services_, options_.endpoints, options_.flood);
  try {
    while (KernelCounters::Monotonic() - start < options_.flood - kProbePause) {
      ReplaceEndpoint();
      const absl::Duration now = KernelCounters::Monotonic();
      source_.Update(probe_);
      times.push_back(AwaitInKernel(probe_, now));
      absl::SleepFor(kProbePause);
    }
  } catch (const Given&) {
    source_.AwaitFlood();
    throw;
  }
  const double rate = source_.AwaitFlood();
  const absl::Duration end = KernelCounters::Monotonic();
  const Spent spent = SpentSince(start, /*without_idle=*/false, Seconds(end - start));
  AwaitQuiet();
  Row("flood: endpoints changed in a second", "", {rate});
  Row("flood: one more change to the kernel", "ms", times);
  Row("flood: from its end to the last write", "ms",
      {std::max(0.0, Milliseconds(counters_.last_write() - end))});
  SpentRows("flood, each second", {spent});
  Row("flood: resident then", "MB", {static_cast<double>(node_->ResidentBytes()) / 1e6});
}

void ProxyCases::Bare() {
  const BareChanges all = Additions(content_);
  const BareChanges ipvs_only = {.operations = all.operations};
  const BareChanges others = {.elements = all.elements, .routes = all.routes};
  const BareChanges service = AdditionsOf(content_, probe_.key());
  std::vector<double> ruleset, ipvs_time, time, cpu, dump, dump_cpu, change_cpu, change_time;
  std::vector<double> service_cpu;
  BareCost fill, read, change, pair;
  for (int round = 0; round < options_.rounds; ++round) {
    AwaitIdleMachine();
    const auto net = Need(lab::NetNamespace::Create("bench-bare"));
    Need(
        lab::Shell(*net, absl::StrCat("ip addr add ", BenchNode::kAddress, "/32 dev lo")).status());
    const absl::Time start = absl::Now();
    Need(lab::Shell(*net, "nft -f -", content_.ruleset).status());
    ruleset.push_back(Seconds(absl::Now() - start));
    const BareCost ipvs_fill = SendBare(*net, ipvs_only);
    fill = ipvs_fill;
    fill += SendBare(*net, others);
    ipvs_time.push_back(Seconds(ipvs_fill.time));
    time.push_back(Seconds(fill.time));
    cpu.push_back(Milliseconds(fill.cpu));
    read = DumpBare(*net, content_);
    dump.push_back(Seconds(read.time));
    dump_cpu.push_back(Milliseconds(read.cpu));
    BareCost changes;
    for (int i = 0; i < options_.changes; ++i) {
      const BenchService before = Probe(options_);
      const ipvs::RealServerKey old = {
          i == 0 ? before.endpoints[0].address : IpAddress::V4(0x0ad00000).Plus(i - 1), 8080};
      const ipvs::RealServerKey fresh = {IpAddress::V4(0x0ad00000).Plus(i), 8080};
      change =
          SendBare(*net, {.operations = {ipvs::Operation::AddRealServer(probe_.key(), fresh, {}),
                                         ipvs::Operation::DeleteRealServer(probe_.key(), old)}});
      changes += change;
      change_time.push_back(Milliseconds(change.time));
    }
    change_cpu.push_back(Milliseconds(changes.cpu) / options_.changes);
    BareCost pairs;
    for (int i = 0; i < kPairs; ++i) {
      pair = SendBare(*net, Reverse(service));
      pair += SendBare(*net, service);
      pairs += pair;
    }
    service_cpu.push_back(Milliseconds(pairs.cpu) / kPairs);
  }
  report_.Section(absl::StrCat(services_, " Services x ", options_.endpoints,
                               " endpoints: the limit, bare messages of the same content"));
  const auto add = [this](const std::string& row, const std::string& unit,
                          std::vector<double> values) {
    summary_.Add("bare messages", row, unit, Median(values));
    report_.Add(row, unit, std::move(values));
  };
  add("first sync: from the first write to the last", "s", time);
  add("first sync: IPVS alone", "s", ipvs_time);
  add("first sync: processor time", "ms", cpu);
  add("first sync: netlink messages", "", {static_cast<double>(fill.messages)});
  add("first sync: system calls", "", {static_cast<double>(fill.system_calls)});
  add("first sync: the ruleset, by nft", "s", ruleset);
  add("restart: from the start until it is done", "s", dump);
  add("restart: processor time", "ms", dump_cpu);
  add("restart: netlink messages", "", {static_cast<double>(read.messages)});
  add("restart: system calls", "", {static_cast<double>(read.system_calls)});
  add("one endpoint: from the source to the kernel", "ms", change_time);
  add("one endpoint: processor time", "ms", change_cpu);
  add("one endpoint: netlink messages", "", {static_cast<double>(change.messages)});
  add("one endpoint: system calls", "", {static_cast<double>(change.system_calls)});
  add("Service added and removed: processor time", "ms", service_cpu);
  add("Service added and removed: netlink messages", "", {static_cast<double>(pair.messages)});
  add("Service added and removed: system calls", "", {static_cast<double>(pair.system_calls)});

  const auto ratio = [this](const std::string& row, double limit) {
    const auto value = medians_.find(row);
    return value == medians_.end() ? NAN : value->second / limit;
  };
  const auto goal = [this](const std::string& what, double value, double at_most) {
    if (!std::isnan(value)) report_.Goal(what, value, at_most);
  };
  goal("first sync, time of writing beside the limit's",
       ratio("first sync: from the first write to the last", Median(time)), 1.3);
  goal("first sync, time of all its passes beside the limit's",
       ratio("first sync: its own passes", Median(time)), 1.3);
  goal("restart, time from its start beside a bare dump's",
       ratio("restart: from the start until it is done", Median(dump)), 1.5);
  goal("restart, netlink messages beside a bare dump's",
       ratio("restart: netlink messages", static_cast<double>(read.messages)), 1.5);
  goal("one endpoint, netlink messages beside the bare ones",
       ratio("one endpoint: netlink messages", static_cast<double>(change.messages)), 3);
  goal("one endpoint, processor time beside the bare messages'",
       ratio("one endpoint: processor time", Median(change_cpu)), 3);
}

}  // namespace fairlead::bench

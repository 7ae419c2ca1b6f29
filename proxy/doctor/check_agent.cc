#include <linux/capability.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proxy/doctor/checks.h"

namespace fairlead {
namespace {

constexpr uint64_t kNetAdmin = uint64_t{1} << CAP_NET_ADMIN;
// Kept by an agent that takes over from kube-proxy, for iptables.
constexpr uint64_t kNetRaw = uint64_t{1} << CAP_NET_RAW;
// Of what fails, so many are findings of their own.
constexpr size_t kShownFailures = 10;
// A feeder that is away for longer is worth a word.
constexpr absl::Duration kStale = absl::Minutes(1);
// Health-check node ports, netlink and gRPC: some hundred files at most, with room.
constexpr uint64_t kFewFiles = 1024;
constexpr uint64_t kLittleSpace = 64 << 20;
constexpr uint64_t kFewFreeFiles = 16;
// What a dump's replies may take on a socket (ipvs/kernel_table.h).
constexpr int64_t kBufferWanted = 1 << 20;
// A file is not newer than the present but for what clocks of file systems differ by.
constexpr absl::Duration kClockSlack = absl::Seconds(5);

Finding CheckAnswer(const AgentFacts& agent) {
  if (agent.asked.ok()) {
    return {.check = "agent.answers",
            .message = "The agent answers.",
            .evidence = absl::StrCat("version ", agent.version, " at ", agent.socket)};
  }
  return {.check = "agent.answers",
          .severity = Severity::kError,
          .message = "No agent answers.",
          .evidence = absl::StrCat(agent.socket, ": ", agent.asked.message()),
          .fix =
              "systemctl status fairlead-proxy; in a cluster: kubectl -n kube-system get pods -l "
              "app.kubernetes.io/name=fairlead -o wide"};
}

Finding CheckPicture(const AgentFacts& agent) {
  Finding finding = {.check = "agent.programmed",
                     .message = "The kernel has been programmed.",
                     .evidence = absl::StrCat("revision ", agent.revision)};
  if (agent.complete && agent.programmed) return finding;
  finding.severity = Severity::kError;
  if (agent.complete) {
    finding.message = "The agent has a picture, and has not programmed the kernel yet.";
    finding.evidence = "no revision is in the kernel";
    finding.fix = "if it lasts, the agent's log says why: journalctl -u fairlead-proxy";
    return finding;
  }
  finding.message = "The agent waits for its first complete picture, and has written nothing.";
  finding.evidence = absl::StrCat(
      agent.feeder.empty() ? "no feeder" : agent.feeder,
      agent.connected ? " is connected, and has no whole picture" : " does not answer");
  finding.fix = "look after the watcher or the API server, or the agent's way to it";
  return finding;
}

Finding CheckVersion(const AgentFacts& agent) {
  Finding finding = {
      .check = "agent.version",
      .message = "The agent is of this program's version.",
      .evidence = absl::StrCat("agent ", agent.version, ", this program ", agent.own_version)};
  if (agent.version == agent.own_version) return finding;
  finding.severity = Severity::kNote;
  finding.message = "The agent that runs is of another version than this program.";
  finding.fix = "if the program was upgraded: systemctl restart fairlead-proxy (traffic goes on)";
  return finding;
}

Finding CheckFeed(const AgentFacts& agent, absl::Time now) {
  const absl::Duration age = now - agent.current_as_of;
  Finding finding = {
      .check = "agent.feed",
      .message = "What the agent acts upon is fresh.",
      .evidence = absl::StrCat(
          agent.feeder, agent.connected ? " is connected" : " is away", ", picture of ",
          absl::FormatDuration(absl::Trunc(std::max(age, absl::ZeroDuration()), absl::Seconds(1))),
          " ago")};
  if (agent.saved_picture) {
    finding.severity = Severity::kWarning;
    finding.message =
        "The agent acts upon a picture that it found on disk; nobody has confirmed "
        "it.";
  } else if (!agent.connected && age > kStale) {
    finding.severity = Severity::kWarning;
    finding.message = "The agent acts upon an old picture: traffic goes on, changes do not arrive.";
  } else {
    return finding;
  }
  finding.fix = "look after the watcher or the API server, or the agent's way to it";
  return finding;
}

std::vector<Finding> CheckFailures(const AgentFacts& agent) {
  std::vector<Finding> findings;
  for (const std::string& failure : agent.failures) {
    if (findings.size() == kShownFailures) break;
    findings.push_back({.check = "agent.failures",
                        .severity = Severity::kError,
                        .message = "Something is not in the kernel as it should be; it is tried "
                                   "again.",
                        .evidence = failure,
                        .fix = "fairlead diff, and the agent's log"});
  }
  const size_t left = agent.failures.size() - findings.size();
  if (left > 0) {
    findings.push_back({.check = "agent.failures",
                        .severity = Severity::kError,
                        .message = absl::StrCat("There are ", left, " more of this kind."),
                        .evidence = absl::StrCat(agent.failures.size(), " failures"),
                        .fix = "fairlead list -o json | jq .failures"});
  }
  if (findings.empty()) {
    findings.push_back({.check = "agent.failures",
                        .message = "Everything is in the kernel.",
                        .evidence = "0 failures"});
  }
  if (agent.warnings > 0) {
    findings.push_back({.check = "agent.warnings",
                        .severity = Severity::kNote,
                        .message = "Some Services say what cannot be done as they say it.",
                        .evidence = absl::StrCat(agent.warnings, " warnings"),
                        .fix = "fairlead list -o json | jq .warnings"});
  }
  return findings;
}

std::vector<Finding> CheckProcess(const AgentProcessFacts& process) {
  Finding rights = {.check = "agent.rights",
                    .message = "The agent has the capability that it needs, and no other.",
                    .evidence = absl::StrCat("CapEff ", absl::Hex(process.capabilities))};
  if ((process.capabilities & kNetAdmin) == 0) {
    rights.severity = Severity::kError;
    rights.message = "The agent does not have CAP_NET_ADMIN: it can write nothing.";
    rights.fix =
        "give it that: AmbientCapabilities=CAP_NET_ADMIN in its unit, "
        "capabilities.add: [NET_ADMIN] in its securityContext";
  } else if ((process.capabilities & ~kNetRaw) != kNetAdmin) {
    rights.severity = Severity::kNote;
    rights.message = "The agent has more capabilities than it needs.";
  }
  Finding files = {.check = "agent.files",
                   .message = "The agent may open enough files.",
                   .evidence = absl::StrCat("Max open files ", process.open_files_limit)};
  if (process.open_files_limit < kFewFiles) {
    files.severity = Severity::kWarning;
    files.message = "The agent may open few files; health-check node ports need some each.";
    files.fix = "LimitNOFILE=65536 in its unit";
  }
  return {rights, files};
}

}  // namespace

std::vector<Finding> CheckClock(const ClockFacts& clock) {
  std::vector<Finding> findings;
  Finding finding = {.check = "clock.synchronised",
                     .message = "The clock is kept by a time service.",
                     .evidence = absl::StrCat("adjtimex: largest error ",
                                              absl::FormatDuration(clock.largest_error))};
  if (!clock.synchronised) {
    finding.severity = Severity::kNote;
    finding.message = "Whether the clock is kept cannot be told.";
    finding.evidence = "adjtimex is refused";
  } else if (!*clock.synchronised) {
    finding.severity = Severity::kWarning;
    finding.message = "Nobody keeps the clock; certificates are refused by a clock that is wrong.";
    finding.evidence = absl::StrCat("adjtimex: STA_UNSYNC, largest error ",
                                    absl::FormatDuration(clock.largest_error));
    finding.fix = "systemctl enable --now systemd-timesyncd, or chrony";
  }
  findings.push_back(finding);
  if (clock.newest_file && *clock.newest_file > clock.now + kClockSlack) {
    findings.push_back(
        {.check = "clock.back",
         .severity = Severity::kWarning,
         .message = "The clock has been set back: Fairlead's own files are of the "
                    "future.",
         .evidence = absl::StrCat(
             "a file of ",
             absl::FormatDuration(absl::Trunc(*clock.newest_file - clock.now, absl::Seconds(1))),
             " from now"),
         .fix = "date; timedatectl"});
  }
  return findings;
}

std::vector<Finding> CheckRights(const RightsFacts& rights) {
  Finding own = {.check = "rights.own",
                 .message = "This program may look at everything.",
                 .evidence = absl::StrCat("CapEff ", absl::Hex(rights.capabilities))};
  if ((rights.capabilities & kNetAdmin) == 0) {
    own.severity = Severity::kError;
    own.message = "This program may not look at the kernel's tables.";
    own.fix = "sudo fairlead doctor";
  }
  Finding buffers = {
      .check = "rights.buffers",
      .message = "Sockets can have the buffers that large dumps need.",
      .evidence = absl::StrCat("SO_RCVBUFFORCE ", rights.large_buffers ? "works" : "is refused",
                               ", net.core.rmem_max = ", rights.largest_buffer)};
  if (!rights.large_buffers && rights.largest_buffer < kBufferWanted) {
    buffers.severity = Severity::kWarning;
    buffers.message = "Replies of the kernel may be lost: sockets cannot have large buffers.";
    buffers.fix =
        absl::StrCat("run as root on the node, or sysctl -w net.core.rmem_max=", kBufferWanted);
  }
  return {own, buffers};
}

std::vector<Finding> CheckState(const StateFolderFacts& state) {
  Finding finding = {
      .check = "state.folder",
      .message = "The state folder can be written.",
      .evidence = absl::StrCat(state.path, ": ", state.free_bytes >> 20, " MiB free")};
  if (state.free_files) absl::StrAppend(&finding.evidence, ", ", *state.free_files, " files");
  if (!state.exists) {
    finding.severity = Severity::kWarning;
    finding.message =
        "There is no state folder: a node that restarts without its control plane "
        "starts with nothing.";
    finding.evidence = absl::StrCat(state.path, " does not exist");
    finding.fix = absl::StrCat("mkdir -p ", state.path, ", and --state-dir ", state.path,
                               " of the agent; or name the agent's: fairlead doctor --state-dir");
  } else if (!state.writable) {
    finding.severity = Severity::kWarning;
    finding.message = "The state folder cannot be written: what is saved in it grows old.";
    finding.evidence = absl::StrCat(state.path, " is read-only, or another user's");
    finding.fix = absl::StrCat("ls -ld ", state.path, "; mount | grep ' ro,'");
  } else if (state.free_bytes < kLittleSpace ||
             state.free_files.value_or(kFewFreeFiles) < kFewFreeFiles) {
    finding.severity = Severity::kWarning;
    finding.message = "The state folder's disk is nearly full.";
    finding.fix = absl::StrCat("df -h ", state.path, "; df -i ", state.path);
  }
  return {finding};
}

std::vector<Finding> CheckAgent(const AgentFacts& agent, absl::Time now) {
  std::vector<Finding> findings = {CheckAnswer(agent)};
  if (agent.process) {
    for (Finding& finding : CheckProcess(*agent.process)) findings.push_back(std::move(finding));
  }
  if (!agent.asked.ok()) return findings;
  findings.push_back(CheckVersion(agent));
  findings.push_back(CheckPicture(agent));
  if (agent.complete) findings.push_back(CheckFeed(agent, now));
  for (Finding& finding : CheckFailures(agent)) findings.push_back(std::move(finding));
  return findings;
}

std::vector<Finding> CheckNode(const Facts& facts) {
  std::vector<Finding> findings;
  for (std::vector<Finding>& group : std::vector<std::vector<Finding>>{
           CheckAgent(facts.agent, facts.clock.now), CheckKernel(facts.kernel),
           CheckSettings(facts.settings), CheckTable(facts.table, facts.settings, facts.kernel),
           CheckProxies(facts.proxies, facts.table, facts.agent), CheckRights(facts.rights),
           CheckState(facts.state), CheckClock(facts.clock)}) {
    findings.insert(findings.end(), group.begin(), group.end());
  }
  return findings;
}

}  // namespace fairlead

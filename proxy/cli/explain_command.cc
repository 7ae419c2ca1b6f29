#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "proxy/cli/command.h"
#include "proxy/cli/inspect_client.h"
#include "proxy/cli/list_format.h"
#include "proxy/cli/offline_plan.h"
#include "proxy/explain/explain.h"

namespace fairlead {
namespace {

struct ExplainFlags {
  NodeFlags node;
  std::string from;
  std::string from_interface;
  std::string to;
  std::string socket = kDefaultSocket;
  std::string output = "text";
};

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "fairlead explain: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

void Print(const ExplainFlags& flags, const Explanation& explanation) {
  const std::string text = flags.output == "json" ? FormatExplanationJson(explanation)
                                                  : FormatExplanationText(explanation);
  std::fputs(text.c_str(), stdout);
}

int ExplainOffline(const ExplainFlags& flags, const ExplainQuery& query) {
  auto planned = PlanOffline("explain", flags.node);
  if (const int* exit_code = std::get_if<int>(&planned)) return *exit_code;
  const OfflinePlan& plan = std::get<OfflinePlan>(planned);
  const absl::StatusOr<Explanation> explanation = Explain(query, *plan.planner, plan.snapshot);
  if (!explanation.ok()) return Fail(explanation.status(), kExitUsage);
  Print(flags, *explanation);
  return kExitOk;
}

ExplainedVerdict ParseVerdict(const std::string& text) {
  for (const ExplainedVerdict verdict :
       {ExplainedVerdict::kBalance, ExplainedVerdict::kReject, ExplainedVerdict::kDrop}) {
    if (FormatExplainedVerdict(verdict) == text) return verdict;
  }
  return ExplainedVerdict::kNone;
}

int AskAgent(const ExplainFlags& flags, const ExplainQuery& query) {
  v1::ExplainRequest request;
  request.set_from(std::string(query.from.bytes()));
  request.set_from_interface(query.from_interface);
  request.set_to(std::string(query.to.bytes()));
  request.set_port(query.port);
  request.set_protocol(static_cast<v1::Protocol>(query.protocol));
  v1::ExplainResponse response;
  const auto context = AskContext();
  const grpc::Status status =
      ConnectToAgent(flags.socket)->Explain(context.get(), request, &response);
  if (!status.ok()) return FailToAsk("explain", flags.socket, FromGrpc(status));

  Explanation explanation;
  explanation.verdict = ParseVerdict(response.verdict());
  explanation.service = response.service();
  for (const v1::ExplainResponse::Endpoint& endpoint : response.endpoints()) {
    const auto address = IpAddress::FromBytes(endpoint.address());
    if (!address.ok()) continue;
    explanation.endpoints.push_back({*address, static_cast<uint16_t>(endpoint.port())});
  }
  explanation.masquerade = response.masquerade();
  explanation.because.assign(response.because().begin(), response.because().end());
  if (response.has_kernel()) {
    for (const std::string& line : KernelViewLines(response.kernel())) {
      explanation.because.push_back(absl::StrCat("kernel: ", line));
    }
  } else if (explanation.verdict == ExplainedVerdict::kBalance) {
    explanation.because.push_back("kernel: has no such virtual server, or not yet");
  }
  Print(flags, explanation);
  return kExitOk;
}

int RunExplain(const ExplainFlags& flags) {
  ExplainQuery query{.from_interface = flags.from_interface};
  const absl::StatusOr<IpAddress> from = IpAddress::Parse(flags.from);
  if (!from.ok()) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("--from: ", from.status().message())),
                kExitUsage);
  }
  query.from = *from;
  const absl::StatusOr<Destination> to = ParseDestination(flags.to);
  if (!to.ok()) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("--to: ", to.status().message())),
                kExitUsage);
  }
  query.to = to->address;
  query.port = to->port;
  query.protocol = to->protocol;
  return flags.node.manifests.empty() ? AskAgent(flags, query) : ExplainOffline(flags, query);
}

}  // namespace

void AddExplainCommand(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "explain",
      "Say where a packet goes on this node, and why: by the running agent, or by --manifests");
  auto flags = std::make_shared<ExplainFlags>();
  command->add_option("--from", flags->from, "Address that the packet comes from")->required();
  command->add_option("--from-interface", flags->from_interface,
                      "Device by which it reaches the node, where pods are told by devices; "
                      "the agent finds it by itself");
  command
      ->add_option("--to", flags->to,
                   "Where it goes: 10.96.0.10:80/tcp, [fd00::1]:53/udp; without a protocol TCP")
      ->required();
  command->add_option("--socket", flags->socket, "The agent's Unix socket, without --manifests")
      ->capture_default_str();
  command->add_option("-o,--output", flags->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  AddNodeFlags(*command, flags->node, Required::kNothing);
  command->callback([flags, &run] { run = [flags] { return RunExplain(*flags); }; });
}

}  // namespace fairlead

// What a real agent and a real watcher export, held against docs/metrics.md and against what is
// made of it: rules and dashboard, in a real Prometheus.
#include <yaml-cpp/yaml.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <regex>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "test/kernel/harness.h"
#include "test/kernel/service_shape.h"
#include "test/lab/http_client.h"
#include "test/lab/requirements.h"
#include "test/lab/watcher.h"
#include "test/metrics/exported.h"
#include "test/metrics/server.h"
#include "test/proxy/health/http_client.h"

namespace fairlead::lab {
namespace {

using Lines = std::vector<std::string>;

constexpr int kAgentPort = 10249;
constexpr int kFeedPort = 10270;
constexpr int kWatcherPort = kFeedPort + 2;

// Of a source that is an API server; here it is a folder.
const std::set<std::string> kOfApiServer = {
    "fairlead_watcher_source_age_seconds", "fairlead_watcher_source_errors_total",
    "fairlead_watcher_source_invalid_objects", "fairlead_watcher_source_watching"};

// Of an agent that only looks.
const std::set<std::string> kOfDryRun = {"fairlead_shadow_differences"};

// kube-proxy's name, though it is a gauge.
constexpr char kKnownComplaint[] =
    "kubeproxy_sync_proxy_rules_no_local_endpoints_total non-counter metrics should not have "
    "\"_total\" suffix";

std::string ReadFile(const std::string& path) {
  std::ifstream file(absl::StrCat(FAIRLEAD_SOURCE_DIR, "/", path));
  INFO(path);
  REQUIRE(file.good());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A node with an agent that a watcher feeds, both from the node's own namespace; a Service "web"
// with two endpoints, another that wants its address, and a client.
class Stage {
 public:
  explicit Stage(const std::string& detail = "endpoint") {
    auto made = Cluster::Create({.node_count = 1});
    INFO(made.status());
    REQUIRE(made.ok());
    cluster_ = *std::move(made);
    ServiceShape shape;
    shape.slices.emplace_back();
    for (const char* name : {"web-1", "web-2"}) {
      auto pod = cluster_->AddPod(name, 1);
      REQUIRE(pod.ok());
      REQUIRE(responder_.AddHttp(*(*pod)->net, 8080, name).ok());
      shape.slices[0].push_back({(*pod)->ipv4, "n1"});
    }
    REQUIRE(cluster_->AddPod("client-1", 1).ok());
    manifests_.Write("web.yaml", shape.Manifest());
    // Loses its external IP to the other.
    shape.name = "zzz";
    shape.type = "ClusterIP";
    shape.cluster_ip = "10.96.7.99";
    manifests_.Write("zzz.yaml", shape.Manifest());

    auto watcher = Watcher::Start(*node().net, {.program = Program(),
                                                .manifests = {manifests_.path()},
                                                .folder = work_.path(),
                                                .port = kFeedPort,
                                                .flags = {"--insecure-plaintext"}});
    REQUIRE(watcher.ok());
    watcher_ = *std::move(watcher);
    options_ = OptionsFor(work_, {manifests_.path()});
    options_.watchers = {absl::StrCat("127.0.0.1:", kFeedPort)};
    options_.transport_flags = {"--insecure-plaintext"};
    // Which `fairlead plan` does not take.
    AgentOptions with_detail = options_;
    with_detail.flags = {"--metrics-detail", detail};
    auto agent = Agent::Start(node(), with_detail);
    REQUIRE(agent.ok());
    agent_ = *std::move(agent);
    const std::string difference = AwaitPlan(node(), options_);
    INFO(agent_->process().Log());
    REQUIRE(difference == "");
  }

  const Node& node() const { return cluster_->node(1); }
  const Agent& agent() const { return *agent_; }

  std::string Fetch(int port, const std::string& path = "/metrics") const {
    const auto answer = node().net->Run([&] {
      return fairlead::Ask(IpAddress::Parse("127.0.0.1").value(), static_cast<uint16_t>(port),
                           path);
    });
    return answer.ok() ? answer->body : "";
  }

  // Requests of the client's to the Service, all of which are answered.
  void Ask(int requests, const std::string& address = "10.96.7.1") const {
    for (int i = 0; i < requests; ++i) {
      const Response response = Get(*cluster_->pod("client-1").net, address, 80);
      INFO(response);
      REQUIRE(response.ok());
    }
  }

  // A change that is programmed after the start, of which there is a time of programming.
  void Change(int number) const {
    ServiceShape shape;
    shape.name = absl::StrCat("more-", number);
    shape.type = "ClusterIP";
    shape.external_ips = {};
    shape.cluster_ip = absl::StrCat("10.96.8.", number);
    manifests_.Write(absl::StrCat(shape.name, ".yaml"), shape.Manifest());
    Await();
  }

  // Until the plan is in the kernel, whatever has happened to it.
  void Await() const { REQUIRE(AwaitPlan(node(), options_, /*draining=*/true) == ""); }

 private:
  std::unique_ptr<Cluster> cluster_;
  Responder responder_;
  Folder manifests_;
  Folder work_;
  AgentOptions options_;
  std::unique_ptr<Watcher> watcher_;
  std::unique_ptr<Agent> agent_;
};

Families Without(Families families, const std::set<std::string>& names) {
  for (const std::string& name : names) {
    INFO(name);
    CHECK(families.erase(name) == 1);
  }
  return families;
}

void Merge(Families& families, Families more) { families.merge(more); }

// "exported and not documented: NAME" and the like.
Lines Difference(const Families& exported, const Families& documented) {
  Lines lines;
  const auto note = [&lines](const char* what, const Families::value_type& family) {
    std::ostringstream text;
    text << what << ": " << family.first << " " << family.second;
    lines.push_back(text.str());
  };
  for (const auto& family : exported) {
    const auto other = documented.find(family.first);
    if (other == documented.end() || !(other->second == family.second)) note("exported", family);
  }
  for (const auto& family : documented) {
    const auto other = exported.find(family.first);
    if (other == exported.end() || !(other->second == family.second)) note("documented", family);
  }
  return lines;
}

TEST_CASE("docs/metrics.md has what is exported, and nothing else") {
  FAIRLEAD_NEEDS_IPVS();
  const Stage stage;
  stage.Ask(4);
  stage.Change(1);
  const std::string documented = ReadFile("docs/metrics.md");
  const Families both = ParseDocumented(documented, "Agents and watchers");
  Families agent = ParseDocumented(documented, "Agents");
  Merge(agent, ParseDocumented(documented, "Services and endpoints"));
  Merge(agent, ParseDocumented(documented, "kube-proxy's metrics"));
  Merge(agent, both);
  Families watcher = ParseDocumented(documented, "Watchers");
  Merge(watcher, both);
  Lines different;
  WaitUntil(Agent::kPatience, [&] {
    different = Difference(ParseExported(stage.Fetch(kAgentPort)), Without(agent, kOfDryRun));
    return different.empty();
  });
  CHECK(different == Lines{});
  CHECK(Difference(ParseExported(stage.Fetch(kWatcherPort)), Without(watcher, kOfApiServer)) ==
        Lines{});
}

TEST_CASE("promtool finds nothing to say of what is exported") {
  FAIRLEAD_NEEDS_IPVS();
  const Stage stage;
  stage.Ask(4);
  struct Row {
    std::string name;
    int port;
    std::string complaints;
  };
  const std::vector<Row> rows = {{"agent", kAgentPort, absl::StrCat(kKnownComplaint, "\n")},
                                 {"watcher", kWatcherPort, ""}};
  for (const Row& row : rows) {
    INFO(row.name);
    const std::string text = stage.Fetch(row.port);
    REQUIRE(text != "");
    const auto output = Shell(
        *stage.node().net,
        Lines{"sh", "-c",
              absl::StrCat(PrometheusProgram("promtool"), " check metrics 2>&1 || test $? -eq 3")},
        text, absl::Seconds(60));
    INFO(output.status());
    REQUIRE(output.ok());
    CHECK(*output == row.complaints);
  }
}

TEST_CASE("a Service's counters are the kernel's, and go on when a virtual server is made anew") {
  FAIRLEAD_NEEDS_IPVS();
  const Stage stage;
  const auto counted = [&](const std::string& metric) {
    const Series values = ParseMetrics(stage.Fetch(kAgentPort));
    const auto it =
        values.find(absl::StrCat(metric, "{service_namespace=\"default\",service_name=\"web\",",
                                 "service_port=\"http\",protocol=\"TCP\"}"));
    return it == values.end() ? -1 : it->second;
  };
  // The kernel sums its counters up every two seconds.
  const auto comes_to = [&](double connections) {
    return WaitUntil(Agent::kPatience,
                     [&] { return counted("fairlead_service_connections_total") == connections; });
  };
  CHECK(counted("fairlead_service_connections_total") == -1);
  stage.Ask(5);
  CHECK(comes_to(5));
  stage.Ask(2, "198.19.7.1");
  CHECK(comes_to(7));
  const Series values = ParseMetrics(stage.Fetch(kAgentPort));
  double endpoints = 0;
  for (const auto& [series, value] : values) {
    if (absl::StartsWith(series, "fairlead_endpoint_connections_total{")) endpoints += value;
  }
  CHECK(endpoints == 7);

  const auto deleted = Shell(*stage.node().net, "ipvsadm -D -t 10.96.7.1:80");
  INFO(deleted.status());
  REQUIRE(deleted.ok());
  stage.Await();
  CHECK(counted("fairlead_service_connections_total") == 7);
  stage.Ask(3);
  CHECK(comes_to(10));
}

TEST_CASE("no more detail than was asked for") {
  FAIRLEAD_NEEDS_IPVS();
  const Stage stage("none");
  stage.Ask(1);
  const std::string text = stage.Fetch(kAgentPort);
  CHECK_FALSE(absl::StrContains(text, "fairlead_service_connections_total"));
  CHECK_FALSE(absl::StrContains(text, "fairlead_counters_read_seconds"));
  CHECK(absl::StrContains(text, "process_resident_memory_bytes"));
}

// Every query of the dashboard with the variables' widest values, by what it is of.
std::map<std::string, std::string> DashboardQueries() {
  const nlohmann::json dashboard =
      nlohmann::json::parse(ReadFile("charts/monitoring/dashboard.json"));
  std::map<std::string, std::string> queries;
  const auto add = [&](const std::string& name, const std::string& query) {
    const std::string expanded = absl::StrReplaceAll(query, {{"$__rate_interval", "1m"},
                                                             {"$instance", ".*"},
                                                             {"$namespace", ".*"},
                                                             {"$service", ".*"}});
    INFO(name);
    CHECK_FALSE(absl::StrContains(expanded, "$"));
    CHECK(queries.emplace(name, expanded).second);
  };
  for (const nlohmann::json& panel : dashboard.at("panels")) {
    if (panel.at("type") == "row") continue;
    for (const nlohmann::json& target : panel.at("targets")) {
      add(absl::StrCat("panel ", panel.at("id").dump(), " ", std::string(panel.at("title")), " ",
                       std::string(target.at("refId"))),
          target.at("expr"));
    }
  }
  const std::regex label_values(R"(label_values\((.*), *\w+\))");
  for (const nlohmann::json& variable : dashboard.at("templating").at("list")) {
    if (variable.at("type") != "query") continue;
    std::smatch match;
    const std::string query = variable.at("query");
    REQUIRE(std::regex_match(query, match, label_values));
    add(absl::StrCat("variable ", std::string(variable.at("name"))), match[1]);
  }
  for (const nlohmann::json& annotation : dashboard.at("annotations").at("list")) {
    add(absl::StrCat("annotation ", std::string(annotation.at("name"))), annotation.at("expr"));
  }
  return queries;
}

// The names of metrics in an expression.
std::set<std::string> MetricsIn(const std::string& expression) {
  const std::regex name(R"(\b(up|(fairlead|kubeproxy|process)[_:][a-z0-9_:]+))");
  std::set<std::string> names;
  for (std::sregex_iterator it(expression.begin(), expression.end(), name), end; it != end; ++it) {
    names.insert(it->str());
  }
  return names;
}

bool AsksApiServer(const std::string& query) {
  const std::set<std::string> names = MetricsIn(query);
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return kOfApiServer.contains(name); });
}

TEST_CASE("every query of the dashboard and of the rules is answered by a real Prometheus") {
  FAIRLEAD_NEEDS_IPVS();
  const Stage stage;
  const PrometheusServer prometheus(
      *stage.node().net, {{"fairlead-agent", absl::StrCat("127.0.0.1:", kAgentPort)},
                          {"fairlead-watcher", absl::StrCat("127.0.0.1:", kWatcherPort)}});
  // So many scrapes that a rate can be taken.
  stage.Change(1);
  const bool scraped = WaitUntil(absl::Seconds(180), [&] {
    stage.Ask(1);
    return !prometheus
                .Query(
                    "count_over_time(fairlead_service_connections_total[1m]) > 3 and on () "
                    "count_over_time(fairlead:service_connections:rate5m[1m]) > 3")
                .empty();
  });
  INFO(prometheus.Log());
  REQUIRE(scraped);
  stage.Change(2);

  // Empty as long as there is no trouble.
  const std::set<std::string> quiet = {"annotation Alerts"};
  std::map<std::string, std::string> queries = DashboardQueries();
  const YAML::Node rules = YAML::Load(ReadFile("charts/monitoring/rules.yaml"));
  std::set<std::string> rule_names;
  for (const YAML::Node& group : rules["groups"]) {
    for (const YAML::Node& rule : group["rules"]) {
      const auto expression = rule["expr"].as<std::string>();
      const bool alert = static_cast<bool>(rule["alert"]);
      const auto name = rule[alert ? "alert" : "record"].as<std::string>();
      rule_names.insert(name);
      if (!alert) {
        queries.emplace(absl::StrCat("rule ", name), expression);
        queries.emplace(absl::StrCat("record ", name), name);
        continue;
      }
      // An alert is empty unless it fires; what it is made of is there.
      for (const std::string& metric : MetricsIn(expression)) {
        queries.emplace(absl::StrCat("alert ", name, " ", metric), metric);
      }
    }
  }
  REQUIRE(rule_names.size() > 20);
  REQUIRE(queries.size() > 60);

  Lines names;
  Lines expressions;
  for (const auto& [name, query] : queries) {
    names.push_back(name);
    expressions.push_back(query);
  }
  Lines errors;
  const std::vector<nlohmann::json> results = prometheus.Query(expressions, errors);
  CHECK(errors == Lines{});
  REQUIRE(results.size() == names.size());
  Lines empty;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool may_be_empty = quiet.contains(names[i]) || AsksApiServer(expressions[i]);
    if (results[i].empty() != may_be_empty)
      empty.push_back(absl::StrCat(names[i], ": ", expressions[i]));
  }
  CHECK(empty == Lines{});

  const std::map<std::string, std::string> health = prometheus.RuleHealth();
  CHECK(health.size() == rule_names.size());
  for (const auto& [rule, state] : health) {
    INFO(rule);
    CHECK(state == "ok");
  }
}

TEST_CASE("docs/operations.md has every alert, and no other") {
  std::set<std::string> alerts;
  const YAML::Node rules = YAML::Load(ReadFile("charts/monitoring/rules.yaml"));
  for (const YAML::Node& group : rules["groups"]) {
    for (const YAML::Node& rule : group["rules"]) {
      if (rule["alert"]) alerts.insert(rule["alert"].as<std::string>());
    }
  }
  std::set<std::string> documented;
  for (const std::string& line : Lines(absl::StrSplit(ReadFile("docs/operations.md"), '\n'))) {
    if (absl::StartsWith(line, "### Fairlead")) documented.insert(line.substr(4));
  }
  CHECK(documented == alerts);
  // One case that fires and one that does not of each.
  std::map<std::string, int> cases;
  const YAML::Node tests = YAML::Load(ReadFile("test/metrics/rules_test.yaml"));
  for (const YAML::Node& test : tests["tests"]) {
    for (const YAML::Node& check : test["alert_rule_test"]) {
      cases[check["alertname"].as<std::string>()] += check["exp_alerts"].size() > 0 ? 1 : 100;
    }
  }
  std::map<std::string, int> wanted;
  for (const std::string& alert : alerts) wanted[alert] = 101;
  CHECK(cases == wanted);
}

}  // namespace
}  // namespace fairlead::lab

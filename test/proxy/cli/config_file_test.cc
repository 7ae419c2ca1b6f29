#include "proxy/cli/config_file.h"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "run_command.h"

namespace fairlead::testing {
namespace {

// A command with flags of each kind.
struct Flags {
  std::string name = "default";
  std::vector<std::string> many;
  bool yes = false;
  int number = 1;
  std::string config;

  friend bool operator==(const Flags&, const Flags&) = default;
};

class Program {
 public:
  Program() {
    command_ = app_.add_subcommand("serve");
    command_->add_option("--node-name", flags.name);
    command_->add_option("--manifests", flags.many);
    command_->add_flag("--dry-run,!--no-dry-run", flags.yes);
    command_->add_option("--max-rate", flags.number)->check(CLI::Range(1, 9));
    command_->add_option("--config", flags.config);
    BindEnvironment(app_);
  }
  // "serve --flag value", without the first word.
  void Parse(const std::string& line) { app_.parse("serve " + line, false); }
  absl::Status Apply(const std::string& path) { return ApplyConfigFile(path, *command_); }
  const CLI::App& app() const { return app_; }

  Flags flags;

 private:
  CLI::App app_{"", "fairlead"};
  CLI::App* command_ = nullptr;
};

// Sets a variable for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* const name_;
};

TEST_CASE("a flag, its key and its variable have one name") {
  CHECK(VariableOf("--node-name") == "FAIRLEAD_NODE_NAME");
  CHECK(VariableOf("node-name") == "FAIRLEAD_NODE_NAME");
  CHECK(VariableOf("--") == "FAIRLEAD_");
}

TEST_CASE("the command line comes before the environment, and that before the file") {
  const TemporaryFolder folder;
  const std::string file = folder.File("c.yaml",
                                       "node-name: file\nmanifests: [a, b]\ndry-run: true\n"
                                       "max-rate: 3\n");
  {
    Program program;
    program.Parse("");
    REQUIRE(program.Apply(file).ok());
    CHECK(program.flags == Flags{"file", {"a", "b"}, true, 3, ""});
  }
  const Variable name("FAIRLEAD_NODE_NAME", "variable");
  const Variable config("FAIRLEAD_CONFIG", "some.yaml");
  {
    Program program;
    program.Parse("--manifests c --no-dry-run");
    REQUIRE(program.Apply(file).ok());
    CHECK(program.flags == Flags{"variable", {"c"}, false, 3, "some.yaml"});
  }
  Program program;
  program.Parse("--node-name line --max-rate 9");
  REQUIRE(program.Apply(file).ok());
  CHECK(program.flags == Flags{"line", {"a", "b"}, true, 9, "some.yaml"});
}

TEST_CASE("a variable without meaning is refused as the flag would be") {
  const Variable rate("FAIRLEAD_MAX_RATE", "10");
  Program program;
  CHECK_THROWS_AS(program.Parse(""), CLI::ParseError);
}

TEST_CASE("each fault of a file is named, with its line") {
  struct Row {
    std::string name;
    std::string text;
    std::string faults;  // @ is the file.
  };
  const std::vector<Row> rows = {
      {"a key that is none, and is near one", "max-rate: 3\nnode-nam: x\n",
       "@:2: node-nam is no key of `fairlead serve`: is node-name meant?"},
      {"a key that is near nothing", "zzz: x\n", "@:1: zzz is no key of `fairlead serve`"},
      {"the file itself", "config: x\n", "@:1: config is no key of `fairlead serve`"},
      {"several", "a: 1\nb: 2\n",
       "@:1: a is no key of `fairlead serve`\n@:2: b is no key of `fairlead serve`"},
      {"twice", "max-rate: 3\nmax-rate: 4\n", "@:2: max-rate is there twice"},
      {"keys below a key", "node-name: {a: b}\n",
       "@:1: node-name has to be a value, or a list of values"},
      {"nothing", "node-name:\n", "@:1: node-name has to be a value, or a list of values"},
      {"a list of keys", "manifests: [{a: b}]\n", "@:1: manifests has to be a list of values"},
      {"a list", "- a\n", "@: has to be keys with values"},
      {"a value out of range", "max-rate: 12\n", "@: --max-rate: Value 12 not in range 1 to 9"},
      {"no number", "max-rate: many\n", "@: --max-rate: Value many not in range 1 to 9"},
      {"no YAML", "a: [\n", "@:2: end of sequence flow not found"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const TemporaryFolder folder;
    const std::string file = folder.File("c.yaml", row.text);
    Program program;
    program.Parse("");
    const absl::Status status = program.Apply(file);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    std::string faults(status.message());
    for (size_t at = 0; (at = faults.find(file)) != std::string::npos;) {
      faults.replace(at, file.size(), "@");
    }
    CHECK(faults == row.faults);
  }
}

TEST_CASE("an empty file says nothing, and one that is not there is an error") {
  const TemporaryFolder folder;
  Program program;
  program.Parse("");
  CHECK(program.Apply(folder.File("empty.yaml", "# nothing\n")).ok());
  CHECK(program.flags == Flags{});
  const std::string none = folder.File("none.yaml");
  CHECK(program.Apply(none) == absl::NotFoundError(none + ": cannot be read"));
}

TEST_CASE("an object of Kubernetes is no such file") {
  const TemporaryFolder folder;
  CHECK(IsConfigFile(folder.File("a.yaml", "node-name: n1\n")).value());
  CHECK(IsConfigFile(folder.File("b.yaml", "- 1\n")).value());
  CHECK_FALSE(IsConfigFile(folder.File("c.yaml", "kind: KubeProxyConfiguration\n")).value());
  CHECK_FALSE(IsConfigFile(folder.File("d.yaml", "apiVersion: v1\n")).value());
}

TEST_CASE("the nearest word is the one that is meant") {
  const std::vector<std::string> words = {"--drain-timeout", "--udp-drain-timeout", "--socket"};
  CHECK(NearestWord("--drain-timout", words) == "--drain-timeout");
  CHECK(NearestWord("--upd-drain-timeout", words) == "--udp-drain-timeout");
  CHECK(NearestWord("--sockets", words) == "--socket");
  CHECK(NearestWord("--helm", words).empty());
  CHECK(NearestWord("", words).empty());
}

TEST_CASE("what nobody knows is named with what may be meant") {
  const auto unknown = [](const std::string& line) {
    Program program;
    CLI::App& app = const_cast<CLI::App&>(program.app());
    app.require_subcommand(1);
    try {
      app.parse(line, false);
    } catch (const CLI::ParseError&) {
      return DescribeUnknown(app);
    }
    return std::string("parsed");
  };
  CHECK(unknown("serve --node-name n1") == "parsed");
  CHECK(unknown("serve --node-nam=n1") == "unknown flag --node-nam: is --node-name meant?\n");
  CHECK(unknown("serve --xyz --dry-rum n1") ==
        "unknown flag --xyz\nunknown flag --dry-rum: is --dry-run meant?\n"
        "nobody expects the argument n1\n");
  CHECK(unknown("sreve") == "unknown command sreve: is serve meant?\n");
  CHECK(unknown("run") == "unknown command run\n");
  CHECK(unknown("").empty());
}

}  // namespace
}  // namespace fairlead::testing

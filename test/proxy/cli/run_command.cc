#include "run_command.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "proxy/cli/command.h"

namespace fairlead::testing {
namespace {

// What is written to a stream of the process meanwhile.
class Capture {
 public:
  explicit Capture(std::FILE* stream) : stream_(stream), file_(std::tmpfile()) {
    std::fflush(stream_);
    saved_ = dup(fileno(stream_));
    if (file_ == nullptr || saved_ < 0 || dup2(fileno(file_), fileno(stream_)) < 0) {
      throw std::runtime_error("cannot capture an output");
    }
  }
  ~Capture() {
    if (saved_ >= 0) Take();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  // Ends the capture.
  std::string Take() {
    std::fflush(stream_);
    dup2(saved_, fileno(stream_));
    close(saved_);
    saved_ = -1;
    std::string text(static_cast<size_t>(std::ftell(file_)), '\0');
    std::rewind(file_);
    text.resize(std::fread(text.data(), 1, text.size(), file_));
    std::fclose(file_);
    return text;
  }

 private:
  std::FILE* const stream_;
  std::FILE* const file_;
  int saved_ = -1;
};

}  // namespace

Outcome RunCommand(const std::string& line) {
  CLI::App app;
  Run run;
  AddProxyCommand(app, run);
  AddWatcherCommand(app, run);
  AddPlanCommand(app, run);
  AddExplainCommand(app, run);
  AddListCommand(app, run);
  AddStatsCommand(app, run);
  AddRatesCommand(app, run);
  AddConnectionsCommand(app, run);
  AddLogLevelCommand(app, run);
  AddVersionCommand(app, run);
  AddDiffCommand(app, run);
  AddDrainCommand(app, run);
  AddCleanupCommand(app, run);
  AddDoctorCommand(app, run);
  app.parse(line);
  Outcome outcome;
  Capture out(stdout);
  Capture err(stderr);
  outcome.exit_code = run();
  outcome.err = err.Take();
  outcome.out = out.Take();
  spdlog::drop("fairlead");  // Of `proxy`, which is run once in a process.
  return outcome;
}

TemporaryFolder::TemporaryFolder() {
  std::string path = absl::StrCat(std::filesystem::temp_directory_path().string(), "/cliXXXXXX");
  if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a folder");
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryFolder::File(const std::string& name, const std::string& text) const {
  const std::string path = absl::StrCat(path_, "/", name);
  if (!text.empty()) std::ofstream(path) << text;
  return path;
}

}  // namespace fairlead::testing

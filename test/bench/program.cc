#include "test/bench/program.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <limits>

#include "absl/synchronization/mutex.h"

namespace fairlead::bench {
namespace {

constexpr int kWrongArguments = 2;

CLI::Range AtLeast(int least) { return {least, std::numeric_limits<int>::max()}; }

}  // namespace

BenchProgram::BenchProgram(const std::string& about) : app_(std::make_unique<CLI::App>(about)) {}

BenchProgram::~BenchProgram() = default;

void BenchProgram::Add(const std::string& flag, int& value, const std::string& about, int least) {
  app_->add_option(flag, value, about)->check(AtLeast(least))->capture_default_str();
}

void BenchProgram::Add(const std::string& flag, std::vector<int>& values, const std::string& about,
                       int least) {
  app_->add_option(flag, values, about)
      ->check(AtLeast(least))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
}

void BenchProgram::Add(const std::string& flag, std::vector<std::string>& values,
                       const std::string& about) {
  app_->add_option(flag, values, about)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
}

void BenchProgram::Add(const std::string& flag, std::string& value, const std::string& about) {
  app_->add_option(flag, value, about)->capture_default_str();
}

void BenchProgram::AddRepeated(const std::string& flag, std::vector<std::string>& values,
                               const std::string& about) {
  app_->add_option(flag, values, about)->allow_extra_args(false);
}

void BenchProgram::AddSwitch(const std::string& flag, bool& value, const std::string& about) {
  app_->add_flag(flag, value, about);
}

int BenchProgram::Run(int argc, char** argv, const std::function<void()>& benchmark) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app_->exit(error) == 0 ? 0 : kWrongArguments;
  }
  // As the program does.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  try {
    benchmark();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}

}  // namespace fairlead::bench

// What the benchmarks' programs have in common: arguments, and an end.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace fairlead::bench {

// Arguments are options with a value each, "--rounds 5", whose defaults are what is in the
// variables that they are for; --help lists them.
class BenchProgram {
 public:
  // `about` says what is measured.
  explicit BenchProgram(const std::string& about);
  ~BenchProgram();

  // A whole number of at least `least`; several are separated by commas.
  void Add(const std::string& flag, int& value, const std::string& about, int least = 1);
  void Add(const std::string& flag, std::vector<int>& values, const std::string& about, int least);
  // Texts, also separated by commas.
  void Add(const std::string& flag, std::vector<std::string>& values, const std::string& about);
  void Add(const std::string& flag, std::string& value, const std::string& about);
  // An option that is given once for each of its values.
  void AddRepeated(const std::string& flag, std::vector<std::string>& values,
                   const std::string& about);
  // An option without a value.
  void AddSwitch(const std::string& flag, bool& value, const std::string& about);

  // Reads the arguments and runs the benchmark. Returns main's exit code: 2 for arguments that are
  // wrong, 1 where the benchmark throws, having said what.
  int Run(int argc, char** argv, const std::function<void()>& benchmark);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace fairlead::bench

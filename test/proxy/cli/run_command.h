// The program's subcommands within a test's process.
#pragma once

#include <string>

namespace fairlead::testing {

struct Outcome {
  int exit_code = 0;
  std::string out;
  std::string err;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// As `fairlead LINE`. Throws CLI::ParseError where the line itself is wrong.
Outcome RunCommand(const std::string& line);

// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  // The path of a file in it; written where there is a text.
  std::string File(const std::string& name, const std::string& text = "") const;

 private:
  std::string path_;
};

}  // namespace fairlead::testing

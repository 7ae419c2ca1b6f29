#include "watcher/feed/tls_files.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "test/watcher/feed/certificates.h"
#include "test/watcher/feed/temporary_folder.h"

namespace fairlead {
namespace {

using feed_test::Authority;
using feed_test::KeyPair;
using feed_test::MountedSecret;
using feed_test::ReadFile;
using feed_test::TemporaryFolder;
using feed_test::WriteFile;

// A usable set of files with short names.
struct Files {
  TemporaryFolder folder;
  Authority authority{"ca"};
  KeyPair pair = authority.Issue({.common_name = "n1"});
  TlsFiles files{.certificate = folder.path() + "/tls.crt",
                 .key = folder.path() + "/tls.key",
                 .authorities = folder.path() + "/ca.crt"};

  Files() {
    WriteFile(files.certificate, pair.certificate);
    WriteFile(files.key, pair.key);
    WriteFile(files.authorities, authority.certificate());
  }

  // What reading them says, with the folder left out.
  std::string Outcome() const {
    const absl::StatusOr<TlsMaterial> material = ReadTlsFiles(files);
    return absl::StrReplaceAll(material.status().ToString(), {{folder.path() + "/", ""}});
  }
};

TEST_CASE("Files that cannot be used are named, with what they are for and what is wrong") {
  struct Row {
    std::string name;
    std::function<void(Files&)> spoil;
    std::string outcome;
  };
  const KeyPair other = Authority("other").Issue({.common_name = "n2"});
  const Row rows[] = {
      {"all is well", [](Files&) {}, "OK"},
      {"no certificate file", [](Files& f) { unlink(f.files.certificate.c_str()); },
       "NOT_FOUND: the certificate tls.crt: cannot be opened: No such file or directory"},
      {"no key file", [](Files& f) { unlink(f.files.key.c_str()); },
       "NOT_FOUND: the private key tls.key: cannot be opened: No such file or directory"},
      {"no CA file", [](Files& f) { unlink(f.files.authorities.c_str()); },
       "NOT_FOUND: the CA file ca.crt: cannot be opened: No such file or directory"},
      {"a folder in place of a file",
       [](Files& f) {
         unlink(f.files.key.c_str());
         std::filesystem::create_directory(f.files.key);
       },
       "FAILED_PRECONDITION: the private key tls.key: cannot be read: Is a directory"},
      {"empty certificate", [](Files& f) { WriteFile(f.files.certificate, ""); },
       "INVALID_ARGUMENT: the certificate tls.crt: holds no certificate in PEM form"},
      {"half a certificate",
       [](Files& f) {
         WriteFile(f.files.certificate,
                   f.pair.certificate.substr(0, f.pair.certificate.size() / 2));
       },
       "INVALID_ARGUMENT: the certificate tls.crt: certificate 1 of the file cannot be parsed: "
       "bad end line"},
      {"a certificate where the key should be",
       [](Files& f) { WriteFile(f.files.key, f.pair.certificate); },
       "INVALID_ARGUMENT: the private key tls.key: holds no private key in PEM form without a "
       "passphrase: unsupported"},
      {"key of another certificate", [&](Files& f) { WriteFile(f.files.key, other.key); },
       "INVALID_ARGUMENT: the private key tls.key: is not the key of the certificate tls.crt"},
      {"CA file with half a second certificate",
       [&](Files& f) {
         WriteFile(f.files.authorities,
                   f.authority.certificate() + other.certificate.substr(0, 100));
       },
       "INVALID_ARGUMENT: the CA file ca.crt: certificate 2 of the file cannot be parsed: bad end "
       "line"},
      {"CA file without a certificate",
       [](Files& f) { WriteFile(f.files.authorities, f.pair.key); },
       "INVALID_ARGUMENT: the CA file ca.crt: holds no certificate in PEM form"},
      {"CA file of more than 1 MiB",
       [](Files& f) { WriteFile(f.files.authorities, std::string(kMaxTlsFileBytes + 1, '\n')); },
       "INVALID_ARGUMENT: the CA file ca.crt: is larger than 1 MiB"},
      {"CA file of 1 MiB",
       [](Files& f) {
         std::string text = f.authority.certificate();
         text.resize(kMaxTlsFileBytes, '\n');
         WriteFile(f.files.authorities, text);
       },
       "OK"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Files files;
    row.spoil(files);
    CHECK(files.Outcome() == row.outcome);
  }
}

TEST_CASE("Replaced files are published together, and unusable ones not at all") {
  const Authority authority("ca");
  const KeyPair first = authority.Issue({.common_name = "first"});
  const KeyPair second = authority.Issue({.common_name = "second"});
  MountedSecret secret(first, authority.certificate());
  const auto followed = FollowedTlsFiles::Open(secret.files());
  REQUIRE(followed.ok());
  const auto identity = [&] { return ReadFile((*followed)->identity_path()); };
  CHECK(identity() == first.certificate + "\n" + first.key);
  CHECK(ReadFile((*followed)->authorities_path()) == authority.certificate());
  CHECK(*(*followed)->Refresh() == false);

  secret.Replace({second.certificate, first.key}, authority.certificate());
  CHECK((*followed)->Refresh().status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(identity() == first.certificate + "\n" + first.key);

  secret.Replace(second, authority.certificate());
  CHECK(*(*followed)->Refresh() == true);
  CHECK(identity() == second.certificate + "\n" + second.key);
  CHECK(*(*followed)->Refresh() == false);
}

}  // namespace
}  // namespace fairlead

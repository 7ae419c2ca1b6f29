#include "test/kubernetes/certificates.h"

#include <stdio.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "test/lab/process.h"

namespace fairlead::lab {
namespace {

// The machine's own would add extensions to what is asked for here.
constexpr char kConfiguration[] = "[req]\ndistinguished_name = name\n[name]\n";

absl::Status Run(const std::vector<std::string>& words) {
  auto process = Process::Start({.words = words});
  if (!process.ok()) return process.status();
  const std::optional<int> code = (*process)->Wait(absl::Seconds(30));
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(absl::StrJoin(words, " "), ": exit ", code.value_or(-1),
                                          ": ", (*process)->Log()));
}

// The command that makes a key and a certificate with that subject.
std::vector<std::string> Command(const std::string& folder, const KeyPair& files,
                                 const std::string& subject,
                                 const std::vector<std::string>& extensions) {
  std::vector<std::string> words = {"openssl",
                                    "req",
                                    "-x509",
                                    "-nodes",
                                    "-newkey",
                                    "ec",
                                    "-pkeyopt",
                                    "ec_paramgen_curve:P-256",
                                    "-sha256",
                                    "-days",
                                    "2",
                                    "-config",
                                    folder + "/openssl.conf",
                                    "-subj",
                                    subject,
                                    "-keyout",
                                    files.key_file,
                                    "-out",
                                    files.certificate_file};
  for (const std::string& extension : extensions) {
    words.push_back("-addext");
    words.push_back(extension);
  }
  return words;
}

}  // namespace

absl::Status ReplaceFile(const std::string& path, absl::string_view text) {
  const std::string next = path + ".new";
  std::ofstream file(next, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file.fail()) return absl::InternalError(absl::StrCat("cannot write ", next));
  if (::rename(next.c_str(), path.c_str()) != 0) return absl::ErrnoToStatus(errno, path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::StatusOr<std::unique_ptr<CertificateAuthority>> CertificateAuthority::Create(
    const std::string& folder) {
  absl::Status made = ReplaceFile(folder + "/openssl.conf", kConfiguration);
  if (made.ok()) {
    made = Run(Command(folder, {folder + "/ca.crt", folder + "/ca.key"}, "/CN=fairlead-test-ca",
                       {"basicConstraints=critical,CA:TRUE",
                        "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash"}));
  }
  if (!made.ok()) return made;
  return std::unique_ptr<CertificateAuthority>(new CertificateAuthority(folder));
}

absl::StatusOr<KeyPair> CertificateAuthority::Issue(const CertificateRequest& request) const {
  std::string subject;
  for (const std::string& organization : request.organizations) {
    absl::StrAppend(&subject, "/O=", organization);
  }
  absl::StrAppend(&subject, "/CN=", request.common_name);
  const bool server = !request.alternative_names.empty();
  std::vector<std::string> extensions = {
      "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
      server ? "extendedKeyUsage=serverAuth,clientAuth" : "extendedKeyUsage=clientAuth"};
  if (server) {
    extensions.push_back(
        absl::StrCat("subjectAltName=", absl::StrJoin(request.alternative_names, ",")));
  }

  const KeyPair files = {absl::StrCat(folder_, "/", request.name, ".crt"),
                         absl::StrCat(folder_, "/", request.name, ".key")};
  const KeyPair next = {files.certificate_file + ".new", files.key_file + ".new"};
  std::vector<std::string> words = Command(folder_, next, subject, extensions);
  words.insert(words.end(), {"-CA", certificate_file(), "-CAkey", folder_ + "/ca.key"});
  if (absl::Status made = Run(words); !made.ok()) return made;
  if (::rename(next.key_file.c_str(), files.key_file.c_str()) != 0 ||
      ::rename(next.certificate_file.c_str(), files.certificate_file.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, request.name);
  }
  return files;
}

}  // namespace fairlead::lab

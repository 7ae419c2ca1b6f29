#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>

#include "watcher/manifest/parse.h"

namespace fairlead::manifest {
namespace {

// Hands yaml-cpp's events to a builder. yaml-cpp reports by exception, so this does too; nothing
// leaves ParseYamlDocument.
class BuilderHandler : public YAML::EventHandler {
 public:
  explicit BuilderHandler(int first_line) : first_line_(first_line) {}

  DocumentBuilder& builder() { return builder_; }
  int LineOf(const YAML::Mark& mark) const { return first_line_ + mark.line; }

  // yaml-cpp 0.7 makes an empty document of a token that can begin none, such as a stray comma, and
  // leaves it where it is, again and again.
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (mark.pos == document_start_) throw YAML::ParserException(mark, "unexpected character");
    document_start_ = mark.pos;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Check(builder_.Null(LineOf(mark), anchor));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Check(builder_.Alias(LineOf(mark), anchor));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // "?" is plain and "!" is quoted; an explicit tag overrules the looks.
    const bool plain = tag == "?" || tag == "tag:yaml.org,2002:int" ||
                       tag == "tag:yaml.org,2002:float" || tag == "tag:yaml.org,2002:bool";
    Check(builder_.Scalar(LineOf(mark), anchor, value, !plain));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Check(builder_.StartList(LineOf(mark), anchor));
  }
  void OnSequenceEnd() override { Check(builder_.End()); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Check(builder_.StartMap(LineOf(mark), anchor));
  }
  void OnMapEnd() override { Check(builder_.End()); }

 private:
  void Check(bool ok) {
    if (!ok) throw YAML::ParserException(YAML::Mark::null_mark(), builder_.error());
  }

  const int first_line_;
  int document_start_ = -1;
  DocumentBuilder builder_;
};

}  // namespace

void ParseYamlDocument(const std::string& text, int first_line, ParsedText* parsed) {
  std::istringstream stream(text);
  BuilderHandler handler(first_line);
  try {
    YAML::Parser parser(stream);
    // More than one where the document ends with "...".
    while (parser.HandleNextDocument(handler)) {
      Document document = handler.builder().Take();
      if (document.root == nullptr || document.root->kind == Value::Kind::kNull) continue;
      parsed->documents.push_back(std::move(document));
    }
  } catch (const YAML::Exception& error) {
    if (!handler.builder().error().empty()) {
      parsed->faults.push_back({handler.builder().error_line(), handler.builder().error()});
    } else {
      const int line = error.mark.is_null() ? first_line : handler.LineOf(error.mark);
      parsed->faults.push_back({line, "is not valid YAML: " + error.msg});
    }
  }
}

}  // namespace fairlead::manifest

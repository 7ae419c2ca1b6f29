#include "proxy/daemon/log_format.h"

#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/time.h"
#include "watcher/log_object.h"

namespace fairlead {
namespace {

class JsonLogFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const auto level = spdlog::level::to_string_view(message.level);
    nlohmann::ordered_json fields = {
        {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(message.time),
                                  absl::UTCTimeZone())},
        {"level", std::string(level.data(), level.size())}};
    if (const absl::string_view object = ObjectOf(message); !object.empty()) {
      fields["object"] = std::string(object);
    }
    fields["message"] = std::string(message.payload.data(), message.payload.size());
    const std::string text =
        fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    line.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override { return MakeJsonLogFormatter(); }
};

}  // namespace

std::unique_ptr<spdlog::formatter> MakeJsonLogFormatter() {
  return std::make_unique<JsonLogFormatter>();
}

}  // namespace fairlead

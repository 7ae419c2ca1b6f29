#include "proxy/daemon/log_rpc.h"

#include <optional>

#include "watcher/feed/proto_time.h"

namespace fairlead {

grpc::Status AnswerLogLevel(LogControl& log, const v1::LogLevelRequest& request,
                            v1::LogLevelResponse& response) {
  std::optional<absl::Duration> revert_after;
  if (request.has_revert_after()) revert_after = DecodeDuration(request.revert_after());
  if (request.level().empty() && revert_after) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "revert_after: goes with a level"};
  }
  const absl::StatusOr<LogLevelState> state =
      request.level().empty() ? log.Get() : log.Set(request.level(), revert_after);
  if (!state.ok()) {
    return {static_cast<grpc::StatusCode>(state.status().code()),
            std::string(state.status().message())};
  }
  response.set_level(state->level);
  if (state->then) {
    EncodeTime(state->then->at, response.mutable_until());
    response.set_then(state->then->to);
  }
  return grpc::Status::OK;
}

}  // namespace fairlead

// The level of the log for those who ask over a socket.
#pragma once

#include <grpcpp/support/status.h>

#include "fairlead/v1/inspect.pb.h"
#include "proxy/daemon/log_control.h"

namespace fairlead {

// What inspect.proto says of LogLevel. Thread-safe.
grpc::Status AnswerLogLevel(LogControl& log, const v1::LogLevelRequest& request,
                            v1::LogLevelResponse& response);

}  // namespace fairlead

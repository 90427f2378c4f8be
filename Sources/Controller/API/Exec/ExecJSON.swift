import FastableCore

/// Parts of what is told about a command, the same in events and messages.
enum ExecJSON {
    /// The fields that `shell.exec` answers, without the output.
    static func result(_ result: ExecResult) -> JSONValue {
        var fields: [String: JSONValue] = [
            "execId": .string(result.exec.description),
            "exitCode": result.exitCode.map { .integer(Int64($0)) } ?? .null,
            "signal": result.signal.map(JSONValue.string) ?? .null, "timedOut": .bool(result.timedOut),
            "durationMs": .number(result.durationMilliseconds), "stdoutBytes": .offset(result.stdoutBytes),
            "stderrBytes": .offset(result.stderrBytes),
        ]
        if let hit = result.limitHit {
            var told: [String: JSONValue] = ["limit": .string(hit.limit.rawValue)]
            told["limitBytes"] = hit.limitBytes.map { .integer(Int64($0)) }
            told["limitCount"] = hit.limitCount.map { .integer(Int64($0)) }
            told["process"] = hit.process.map(JSONValue.string)
            fields["limitHit"] = .object(told)
        }
        return .object(fields)
    }

    static func gap(channel: UInt8, from: UInt64, to: UInt64) -> JSONValue {
        [
            "stream": .string(OutputStreamName(channel: channel).rawValue), "from": .offset(from), "to": .offset(to),
        ]
    }
}

extension JSONValue {
    static func offset(_ offset: UInt64) -> JSONValue { .integer(Int64(clamping: offset)) }
}

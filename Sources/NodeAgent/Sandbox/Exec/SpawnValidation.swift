import CLinux
package import FastableCore

extension InitRequest.Spawn {
    /// Checks what init and the kernel would refuse, so that the answer can name the field.
    ///
    /// - Throws: `unprocessable`, or `limit` when the command is too large.
    package init(exec: ExecID, command: ExecCommand, user: ExecUser) throws(FastableError) {
        var command = command
        if let secrets = command.secrets {
            try secrets.validate(field: "secretEnv")
            command.environment.merge(secrets.values) { $1 }
            command.secrets = nil
        }
        try Self.check(!command.arguments.isEmpty, "cmd", "Give at least the program to run.")
        try Self.check(command.workingDirectory.utf8.first == UInt8(ascii: "/"), "cwd", "Give an absolute path.")
        try Self.check(command.timeoutMilliseconds > 0, "timeoutSec", "Give a positive number.")
        let texts = command.arguments + [command.workingDirectory] + command.environment.flatMap { [$0.key, $0.value] }
        try Self.check(!texts.contains { $0.utf8.contains(0) }, "cmd", "A zero byte cannot be passed to a program.")
        let names = command.environment.keys
        try Self.check(
            names.allSatisfy { !$0.isEmpty && !$0.utf8.contains(UInt8(ascii: "=")) }, "env",
            "A variable's name must not be empty or contain ‘=’.")

        let ids = [user.uid, user.gid] + user.groups
        try Self.check(ids.allSatisfy { $0 < Limits.containerUsers }, "user", "Its ids are not the container's.")
        try Self.limit(user.groups.count, Limits.execGroups, "supplementary groups", "user")
        try Self.limit(command.arguments.count, Limits.execArguments, "arguments", "cmd")
        try Self.limit(names.count, Int(FASTABLE_INIT_ENVIRONMENT), "environment variables", "env")
        // What a string takes in the request, and about what it takes in the new program.
        let bytes = texts.reduce(0) { $0 + $1.utf8.count + 5 }
        try Self.limit(bytes, Limits.execArgumentBytes, "bytes of arguments and environment", "cmd")
        self.init(
            user: user, timeoutMilliseconds: UInt32(clamping: command.timeoutMilliseconds), token: exec.description,
            command: command)
    }

    private static func check(_ fits: Bool, _ field: String, _ advice: String) throws(FastableError) {
        guard !fits else { return }
        throw FastableError(
            .unprocessable, "The command cannot be run: ‘\(field)’ is not usable. \(advice)",
            details: ["field": .string(field)])
    }

    private static func limit(_ count: Int, _ most: Int, _ what: String, _ field: String) throws(FastableError) {
        guard count > most else { return }
        throw FastableError(
            .tooLarge, "The command has \(count) \(what); \(most) are possible. Put large input into a file.",
            details: ["field": .string(field), "limit": .integer(Int64(most))])
    }
}

import CLinux
import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import Synchronization

/// One run of ripgrep in an open directory.
struct Search: Sendable {
    let top: RootedDirectory
    let uidBase: UInt32
    let group: GroupEntrance?
    /// What is left out; `nil` when ignored files are wanted too.
    var ignored: IgnoredPaths?

    static let pathOnly = CInt(FST_O_PATH)

    /// - Parameters:
    ///   - arguments: what to do; none of them is chosen by a caller but within one `--option=value`.
    ///   - standardInput: read instead of the directory.
    ///   - consume: gets the output; `false` ends the run.
    /// - Throws: `invalid` with ripgrep's words for a bad pattern, `timeout`, `limit`.
    func run(
        _ arguments: [String], standardInput: OpenFile? = nil,
        _ consume: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Bool
    ) async throws {
        let command = command(arguments, standardInput)
        let result: HostCommand.Result
        let hadEnough = Mutex(false)
        do {
            result = try await command.run(timeout: .seconds(Limits.searchSeconds)) { bytes in
                let goesOn = try consume(bytes)
                if !goesOn { hadEnough.withLock { $0 = true } }
                return goesOn
            }
        } catch let error as FastableError where error.code == .timeout {
            throw Self.tookTooLong(context: error.context)
        }
        // The input must stay open until ripgrep has started, and the directory until it has ended.
        withExtendedLifetime((standardInput, ignored, top)) {}
        // Who was ended by us has said what was wanted; who was ended by the kernel has not.
        if !hadEnough.withLock({ $0 }) { try Self.check(result) }
    }

    /// The same for a consumer that takes its time, which slows the search.
    func stream(
        _ arguments: [String], standardInput: OpenFile? = nil,
        _ consume: @escaping @Sendable ([UInt8]) async throws -> Bool
    ) async throws {
        struct HadEnough: Error {}
        do {
            let result = try await command(arguments, standardInput).stream(timeout: .seconds(Limits.searchSeconds)) {
                guard try await consume($0) else { throw HadEnough() }
            }
            withExtendedLifetime((standardInput, ignored, top)) {}
            try Self.check(result)
        } catch is HadEnough {
            return
        } catch let error as FastableError where error.code == .timeout {
            throw Self.tookTooLong(context: error.context)
        }
    }

    private func command(_ arguments: [String], _ standardInput: OpenFile?) -> HostCommand {
        var inherited: [HostCommand.InheritedDescriptor] = []
        if let standardInput { inherited.append(.init(standardInput.descriptor.number, as: 0)) }
        if let ignored { inherited.append(.init(ignored.file.descriptor.number, as: IgnoredPaths.descriptor)) }
        var command = HostCommand(
            "rg", Self.fixedArguments + (ignored == nil ? [] : IgnoredPaths.arguments) + arguments + Self.lastArguments,
            inheritedDescriptors: inherited,
            workingDirectory: .descriptor(top.descriptor.number),
            // Only root can become somebody else; tests run as anybody.
            identity: geteuid() == 0 ? .init(user: uidBase, group: uidBase) : nil,
            memoryLimitBytes: Limits.searchMemoryBytes, group: group)
        command.pool = .searches
        return command
    }

    static func tookTooLong(context: String? = nil) -> FastableError {
        FastableError(
            .timeout, "The search took longer than \(Limits.searchSeconds) s. Narrow it with ‘path’ or a pattern.",
            context: context, details: ["limit": .integer(Int64(Limits.searchSeconds))])
    }

    /// It reads no ignore file of the workspace: those may be links to files of the host, or FIFOs.
    private static let fixedArguments = [
        "--no-config", "--no-messages", "--no-ignore-messages", "--no-ignore", "--hidden", "--sort=path",
        "--color=never", "--null", "--no-mmap",
    ]

    /// Of several globs the last one decides.
    private static let lastArguments = ["--glob=!.git", "--glob=!\(StagedTree.namePattern)"]

    private static func check(_ result: HostCommand.Result) throws {
        switch result.status {
        // 1: nothing found.
        case .exited(0), .exited(1): return
        // Files that could not be read also give 2, without a word.
        case .exited(2) where result.stderr.isEmpty: return
        case .exited(2):
            let words = result.errorText.prefix(2000).trimmed
            throw FastableError(.invalid, "The pattern is not valid: \(words)", details: ["field": "pattern"])
        case .exited, .signaled:
            throw FastableError(
                .limit,
                "The search needed more memory than it may use. Simplify the pattern, or narrow it with ‘path’.",
                context: "\(result.status): \(result.errorText.prefix(2000))")
        }
    }
}

extension Substring {
    fileprivate var trimmed: String {
        var text = self
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

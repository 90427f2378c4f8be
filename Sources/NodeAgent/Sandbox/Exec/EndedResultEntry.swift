import FastableCore
import FoundationEssentials
import NIOCore

/// What is kept of a command for `Limits.finishedExecDays`, whatever becomes of its record: how it ended, in entries of one size.
enum EndedResultEntry {
    static let bytes = 192
    private static let idBytes = 26
    private static let signalBytes = 10
    /// The kernel cuts the name of a process, and writes what cannot be printed of it as several characters.
    private static let processBytes = 56

    private struct Facts: OptionSet {
        let rawValue: UInt8
        static let hasResult = Facts(rawValue: 1)
        static let hasExitCode = Facts(rawValue: 2)
        static let timedOut = Facts(rawValue: 4)
        static let hasNumber = Facts(rawValue: 8)
    }

    /// What an entry begins with.
    static func id(of exec: ExecID) -> [UInt8] { Array(exec.description.utf8.suffix(idBytes)) }

    static func id(of entry: ArraySlice<UInt8>) -> ArraySlice<UInt8> { entry.prefix(idBytes) }

    static func encode(_ record: ExecRecord) -> [UInt8] {
        let result = record.result
        var facts: Facts = []
        if result != nil { facts.insert(.hasResult) }
        if result?.exitCode != nil { facts.insert(.hasExitCode) }
        if result?.timedOut == true { facts.insert(.timedOut) }
        if record.number != nil { facts.insert(.hasNumber) }
        var entry = ByteBuffer()
        entry.writeBytes(id(of: record.exec))
        entry.writeString(String(record.container.description.suffix(idBytes)))
        entry.writeBytes(padded(result?.signal, to: signalBytes))
        entry.writeMultipleIntegers(facts.rawValue, result?.exitCode ?? 0, record.number ?? 0)
        entry.writeMultipleIntegers(record.stdoutEnd, record.stderrEnd, record.writtenMilliseconds)
        entry.writeMultipleIntegers(result?.stdoutBytes ?? 0, result?.stderrBytes ?? 0)
        entry.writeMultipleIntegers(
            (result?.startedAt.timeIntervalSince1970 ?? 0).bitPattern, (result?.durationMilliseconds ?? 0).bitPattern)
        let hit = result?.limitHit
        entry.writeMultipleIntegers(hit.map(kind(of:)) ?? 0, UInt64(clamping: hit?.limitBytes ?? hit?.limitCount ?? 0))
        entry.writeBytes(padded(hit?.process, to: processBytes))
        return Array(entry.readableBytesView)
    }

    static func decode(_ bytes: [UInt8]) -> ExecRecord? {
        var entry = ByteBuffer(bytes: bytes)
        guard let exec = entry.readString(length: idBytes).flatMap({ ExecID("\(ExecKind.prefix)_\($0)") }),
            let container = entry.readString(length: idBytes).flatMap({ ContainerID("\(ContainerKind.prefix)_\($0)") }),
            let signal = entry.readBytes(length: signalBytes),
            let (bits, exitCode, number) = entry.readMultipleIntegers(as: (UInt8, Int32, UInt32).self),
            let (stdoutEnd, stderrEnd, written) = entry.readMultipleIntegers(as: (UInt64, UInt64, UInt64).self),
            let (stdout, stderr, started, duration) = entry.readMultipleIntegers(
                as: (UInt64, UInt64, UInt64, UInt64).self),
            let (kind, value) = entry.readMultipleIntegers(as: (UInt8, UInt64).self),
            let process = entry.readBytes(length: processBytes)
        else { return nil }
        let facts = Facts(rawValue: bits)
        let result = ExecResult(
            exec: exec, exitCode: facts.contains(.hasExitCode) ? exitCode : nil, signal: text(signal),
            timedOut: facts.contains(.timedOut), startedAt: Date(timeIntervalSince1970: Double(bitPattern: started)),
            durationMilliseconds: Double(bitPattern: duration), stdoutBytes: stdout, stderrBytes: stderr,
            limitHit: hit(kind, value, process: text(process)))
        return ExecRecord(
            exec: exec, container: container, number: facts.contains(.hasNumber) ? number : nil,
            result: facts.contains(.hasResult) ? result : nil, failure: facts.contains(.hasResult) ? nil : forgotten,
            stdoutEnd: stdoutEnd, stderrEnd: stderrEnd, isComplete: true, writtenMilliseconds: written)
    }

    private static func kind(of hit: LimitHit) -> UInt8 {
        switch hit.limit {
        case .memory: 1
        case .pids: 2
        case .disk: 3
        }
    }

    private static func hit(_ kind: UInt8, _ value: UInt64, process: String?) -> LimitHit? {
        let amount = value == 0 ? nil : Int(clamping: value)
        return switch kind {
        case 1: LimitHit(.memory, limitBytes: amount, process: process)
        case 2: LimitHit(.pids, limitCount: amount)
        case 3: LimitHit(.disk, limitBytes: amount)
        default: nil
        }
    }

    private static func padded(_ text: String?, to count: Int) -> [UInt8] {
        let bytes = Array((text ?? "").utf8.prefix(count))
        return bytes + [UInt8](repeating: 0, count: count - bytes.count)
    }

    private static func text(_ bytes: [UInt8]) -> String? {
        let text = bytes.prefix { $0 != 0 }
        return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
    }

    private static let forgotten = FastableError(
        .gone, "The command did not start, or its container ended while it ran. Which of them is no longer kept.")
}

import FastableCore
import FastableDaemon
import FoundationEssentials
import Logging
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct LogTests {
    let pipe: Pipe

    init() throws { pipe = try Pipe() }

    func logger(_ format: LogFormat, level: Logger.Level = .trace) -> Logger {
        let output = LogOutput(descriptor: pipe.writing)
        return Logger(label: "test") { label in
            LineLogHandler(
                label: label, settings: LogSettings(level: level, format: format), output: output,
                metadataProvider: nil)
        }
    }

    @Test func textForPeople() throws {
        var log = logger(.text)
        log[metadataKey: "request"] = "req_1"
        log.warning("disk is nearly full", metadata: ["free": "12", "path": "/var/lib", "who": "the node"])
        let line = pipe.contents()
        #expect(line.hasSuffix(" warning disk is nearly full free=12 path=/var/lib request=req_1 who=\"the node\"\n"))
        let time = try #require(line.split(separator: " ").first)
        #expect(time.count == 24 && time.hasSuffix("Z") && time.contains("T"))
        let date = try Date(String(time.prefix(19)) + "Z", strategy: .iso8601)
        #expect(abs(date.timeIntervalSinceNow) < 60)
    }

    @Test func jsonForMachines() throws {
        logger(.json).error(
            "no", metadata: ["list": ["a", "b"], "peer": ["address": "::1"], "n": "\(1)", "message": "own"])
        let line = pipe.contents()
        #expect(line.filter(\.isNewline).count == 1)
        let record = try JSON.decode(JSONValue.self, from: Data(line.utf8))
        #expect(record["level"] == "error")
        #expect(record["logger"] == "test")
        #expect(record["message"] == "no")
        #expect(record["fields"] == ["list": ["a", "b"], "peer": ["address": "::1"], "n": "1", "message": "own"])
    }

    @Test func theLevelDecides() {
        let log = logger(.text, level: .warning)
        log.info("unheard")
        log.error("heard")
        #expect(pipe.contents().contains("unheard") == false)
        var louder = log
        louder.logLevel = .debug
        louder.debug("now")
        log.debug("still not")
        let text = pipe.contents()
        #expect(text.contains("now") && !text.contains("still not"))
    }

    @Test(arguments: [LogFormat.text, .json])
    func hostileTextStaysInItsLine(format: LogFormat) {
        let hostile = "a\nb\r\u{1b}[2Jc\u{0}\u{7f}\u{85}\u{2028}\u{2029}\t\"\\ level=info"
        logger(format).info(
            "\(hostile)", metadata: ["value": "\(hostile)", "k\ney": "v", "deep": ["x\ny": ["\n"]]])
        let text = pipe.contents()
        #expect(text.utf8.filter { $0 == 0x0a }.count == 1)
        #expect(text.utf8.last == 0x0a)
        #expect(!text.utf8.dropLast().contains { $0 < 0x20 })
        #expect(!text.contains("\u{1b}"))
    }

    @Test func textEscapesWhatReordersOrHides() {
        logger(.text).info("m\u{202e}x\u{200b}", metadata: ["v": "a\u{2066}b\u{e0001}", "e": "", "q": "say \"hi\" \\"])
        let text = pipe.contents()
        #expect(text.contains("info    m\\u202ex\\u200b"))
        #expect(text.contains("v=\"a\\u2066b\\U000e0001\""))
        #expect(text.contains("e=\"\""))
        #expect(text.contains("q=\"say \\\"hi\\\" \\\\\""))
    }

    @Test func errorsStandInTheRecord() {
        logger(.text).warning("failed", error: FastableError(.timeout, "Too slow.", context: "exe_1"))
        #expect(pipe.contents().contains("error=\"timeout: Too slow. [exe_1]\""))
    }

    @Test func longValuesAreCut() {
        let long = String(repeating: "é", count: Limits.logValueBytes)
        logger(.text).info("\(long)", metadata: ["v": "\(long)"])
        let text = pipe.contents()
        #expect(text.utf8.count < 3 * Limits.logValueBytes)
        #expect(text.contains("(\(2 * Limits.logValueBytes) bytes)"))
    }

    /// Many writers and a reader that sleeps: every line arrives, and arrives whole.
    @Test(.endsInTime) func nothingIsLostOrMixed() async {
        let log = logger(.text)
        let (writers, lines) = (4, 400)
        let filler = String(repeating: "x", count: 1000)
        let reader = Thread.reading(pipe.reading, lines: writers * lines)
        await withTaskGroup(of: Void.self) { group in
            for writer in 0..<writers {
                group.addTask {
                    for line in 0..<lines { log.info("w\(writer) l\(line) \(filler)") }
                }
            }
        }
        let text = await reader.value
        let found = Set(
            text.split(separator: "\n").map { $0.split(separator: " ").dropFirst(2).joined(separator: " ") })
        let expected = Set(
            (0..<writers).flatMap { writer in (0..<lines).map { "w\(writer) l\($0) \(filler)" } })
        #expect(found == expected)
    }
}

private enum Thread {
    /// Reads so many lines, slowly at first, away from the threads that run tasks.
    static func reading(_ descriptor: Int32, lines: Int) -> Task<String, Never> {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self)
        var thread = pthread_t()
        let job = Job(descriptor: descriptor, lines: lines, continuation: continuation)
        pthread_create(
            &thread, nil,
            { argument in
                argument.map { Unmanaged<Job>.fromOpaque($0).takeRetainedValue().run() }
                return nil
            }, Unmanaged.passRetained(job).toOpaque())
        pthread_detach(thread)
        return Task { await stream.first { _ in true } ?? "" }
    }

    private final class Job {
        let descriptor: Int32
        let lines: Int
        let continuation: AsyncStream<String>.Continuation

        init(descriptor: Int32, lines: Int, continuation: AsyncStream<String>.Continuation) {
            (self.descriptor, self.lines, self.continuation) = (descriptor, lines, continuation)
        }

        func run() {
            usleep(200_000)
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            var missing = lines
            while missing > 0 {
                let count = read(descriptor, &buffer, buffer.count)
                guard count > 0 else { break }
                missing -= buffer[..<count].count { $0 == 0x0a }
                bytes += buffer[..<count]
            }
            continuation.yield(String(decoding: bytes, as: UTF8.self))
        }
    }
}

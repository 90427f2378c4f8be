import ControllerAPI
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import TestSupport
import Testing

/// Reads server-sent events as a browser does.
struct EventReader {
    struct Event: Equatable {
        var event = "message"
        var id = ""
        var data = ""
    }

    private(set) var events: [Event] = []
    private(set) var comments = 0
    private var buffered: [UInt8] = []
    private var current = Event()
    private var dataLines: [String] = []

    mutating func append(_ bytes: some Sequence<UInt8>) {
        buffered.append(contentsOf: bytes)
        while let end = buffered.firstIndex(of: UInt8(ascii: "\n")) {
            line(String(decoding: buffered[..<end], as: UTF8.self))
            buffered.removeSubrange(...end)
        }
    }

    private mutating func line(_ line: String) {
        if line.isEmpty {
            if !dataLines.isEmpty {
                current.data = dataLines.joined(separator: "\n")
                events.append(current)
            }
            current = Event()
            dataLines = []
        } else if line.hasPrefix(":") {
            comments += 1
        } else if line.hasPrefix("data: ") {
            dataLines.append(String(line.dropFirst(6)))
        } else if line.hasPrefix("event: ") {
            current.event = String(line.dropFirst(7))
        } else if line.hasPrefix("id: ") {
            current.id = String(line.dropFirst(4))
        }
    }
}

@Suite struct EventStreamTests {
    @Test func writesOneEvent() {
        var buffer = ByteBuffer()
        EventStream.write(event: "output", id: "7", data: ByteBuffer(string: "{}"), to: &buffer)
        #expect(String(buffer: buffer) == "id: 7\nevent: output\ndata: {}\n\n")
    }

    @Test func aNameCannotBeginAnotherLine() {
        var buffer = ByteBuffer()
        EventStream.write(event: "a\ndata: b", id: "1\r\nevent: x", data: ByteBuffer(string: "c"), to: &buffer)
        #expect(String(buffer: buffer) == "id: 1\nevent: a\ndata: c\n\n")
    }

    @Test(arguments: seeds())
    func whateverIsWrittenIsRead(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var buffer = ByteBuffer()
        var wanted: [String] = []
        for _ in 0..<200 {
            let length = Int.random(in: 1...20, using: &generator)
            let data = String((0..<length).map { _ in "ab \n:é".randomElement(using: &generator) ?? "a" })
            wanted.append(data)
            EventStream.write(data: ByteBuffer(string: data), to: &buffer)
            if Bool.random(using: &generator) { buffer.writeImmutableBuffer(EventStream.keepAlive) }
        }
        var reader = EventReader()
        reader.append(buffer.readableBytesView)
        #expect(reader.events.map(\.data) == wanted)
    }

    @Test func everyLineBreakOfADatumStaysOne() {
        var buffer = ByteBuffer()
        EventStream.write(data: ByteBuffer(string: "a\r\nb\rc\nd"), to: &buffer)
        #expect(String(buffer: buffer) == "data: a\ndata: b\ndata: c\ndata: d\n\n")
    }
}

@Suite struct JSONTextTests {
    @Test(arguments: seeds())
    func everyStringComesBack(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let length = Int.random(in: 0...30, using: &generator)
            var text = ""
            for _ in 0..<length {
                let code = [
                    UInt32.random(in: 0...0x7f, using: &generator), .random(in: 0...0x10ffff, using: &generator),
                ]
                if let scalar = code.randomElement(using: &generator).flatMap(Unicode.Scalar.init) {
                    text.unicodeScalars.append(scalar)
                }
            }
            var buffer = ByteBuffer()
            buffer.writeJSONString(text)
            #expect(try JSONParser.parse(Data(buffer.readableBytesView)) == .string(text))
            #expect(try JSON.decode(JSONValue.self, from: Data(buffer.readableBytesView)) == .string(text))
        }
    }
}

@Suite struct TextSplitterTests {
    /// Text that is cut anywhere stays text, and nothing is lost or moved.
    @Test(arguments: seeds())
    func textStaysText(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let text = String((0..<300).map { _ in "aé€😀\n".randomElement(using: &generator) ?? "a" })
        let (bytes, isText) = split(Array(text.utf8), &generator)
        #expect(bytes == Array(text.utf8))
        #expect(isText.allSatisfy { $0 })
    }

    @Test(arguments: seeds())
    func anyBytesComeThroughAndTextIsTrulyText(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let all = (0..<200).map { _ in
                Bool.random(using: &generator)
                    ? UInt8.random(in: 0x20...0x7e, using: &generator)
                    : .random(in: 0...255, using: &generator)
            }
            let (bytes, _) = split(all, &generator)
            #expect(bytes == all)
        }
    }

    @Test func bytesWithANULAreNoText() {
        var splitter = TextSplitter()
        #expect(splitter.take(ByteBuffer(bytes: [0x61, 0, 0x62]))?.isText == false)
        #expect(splitter.take(ByteBuffer(bytes: [0x61, 1, 0x62]))?.isText == true)
    }

    @Test func aCharacterIsHeldUntilItIsWhole() {
        var splitter = TextSplitter()
        #expect(splitter.take(ByteBuffer(bytes: [0xe2, 0x82])) == nil)
        #expect(splitter.take(ByteBuffer(bytes: [0xac])) == .init(bytes: ByteBuffer(string: "€"), isText: true))
        #expect(splitter.take(ByteBuffer(bytes: [0xe2])) == nil)
        #expect(splitter.finish() == .init(bytes: ByteBuffer(bytes: [0xe2]), isText: false))
        #expect(splitter.finish() == nil)
    }

    private func split(_ all: [UInt8], _ generator: inout SeededGenerator) -> (bytes: [UInt8], isText: [Bool]) {
        var splitter = TextSplitter()
        var pieces: [TextSplitter.Piece] = []
        var rest = all[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...7, using: &generator)
            if let piece = splitter.take(ByteBuffer(bytes: rest.prefix(count))) { pieces.append(piece) }
            rest = rest.dropFirst(count)
        }
        if let piece = splitter.finish() { pieces.append(piece) }
        for piece in pieces where piece.isText {
            #expect(String(validating: piece.bytes.readableBytesView, as: UTF8.self) != nil)
        }
        return (pieces.flatMap { Array($0.bytes.readableBytesView) }, pieces.map(\.isText))
    }
}

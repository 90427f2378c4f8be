import ControllerServices
import NIOCore
import TestSupport
import Testing

@Suite struct CappedOutputTests {
    private func output(_ pieces: [String], limit: Int) -> CappedOutput {
        var output = CappedOutput(limit: limit)
        for piece in pieces { output.append(ByteBuffer(string: piece)) }
        return output
    }

    @Test func whatFitsStaysWhole() {
        #expect(output([], limit: 10).text == "")
        #expect(output(["hello", "world"], limit: 10).text == "helloworld")
        #expect(!output(["hello", "world"], limit: 10).isCut)
    }

    @Test func theMiddleIsCutAndTold() {
        let cut = output(["abcde", "XXXXX", "fghij"], limit: 10)
        #expect(cut.isCut)
        #expect(cut.totalBytes == 15)
        #expect(cut.text == "abcde\n[… 5 of 15 bytes left out here, from offset 5 on …]\nfghij")
    }

    @Test func noCharacterIsCutInHalf() {
        // Each character has three bytes; the limit's halves end within one.
        let cut = output([String(repeating: "漢", count: 10)], limit: 16)
        #expect(cut.text == "漢漢\n[… 18 of 30 bytes left out here, from offset 6 on …]\n漢漢")
        let emoji = output(["ab😀cdefgh😀"], limit: 10)
        #expect(emoji.text == "ab\n[… 9 of 16 bytes left out here, from offset 2 on …]\nh😀")
    }

    @Test func bytesThatAreNotTextShowAsReplacement() {
        var output = CappedOutput(limit: 100)
        output.append(ByteBuffer(bytes: [0x61, 0xff, 0x62]))
        #expect(output.text == "a\u{fffd}b")
    }

    /// Against the plain way: keep everything, cut at the end.
    @Test(arguments: seeds(300))
    func itKeepsTheFirstAndTheLastBytesHoweverTheyCome(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let half = random.int(1...40)
        var all: [UInt8] = []
        var output = CappedOutput(limit: half * 2)
        for _ in 0..<random.int(0...12) {
            let piece = (0..<random.int(0...60)).map { _ in UInt8(random.int(97...122)) }
            all += piece
            output.append(ByteBuffer(bytes: piece))
        }
        #expect(output.totalBytes == UInt64(all.count))
        #expect(output.isCut == (all.count > half * 2))
        guard output.isCut else {
            #expect(output.text == String(decoding: all, as: UTF8.self))
            return
        }
        let marker = "\n[… \(all.count - half * 2) of \(all.count) bytes left out here, from offset \(half) on …]\n"
        let expected =
            String(decoding: all.prefix(half), as: UTF8.self) + marker
            + String(decoding: all.suffix(half), as: UTF8.self)
        #expect(output.text == expected)
        #expect(output.omitted == UInt64(half)..<UInt64(all.count - half))
    }

    /// What is told to be missing is what is missing, also when the stream is not followed from its beginning.
    @Test func omittedPlacesAreThoseOfTheStream() {
        #expect(output(["hello"], limit: 10).omitted == nil)
        #expect(output([String(repeating: "漢", count: 10)], limit: 16).omitted == 6..<24)
        var late = CappedOutput(limit: 10)
        late.append(ByteBuffer(string: "abcde"), at: 100)
        // Of these, the first two are no longer kept by the node.
        late.append(ByteBuffer(string: "XXXfghij"), at: 107)
        #expect(late.omitted == 105..<110 && late.text.contains("from offset 105 on"))
    }
}

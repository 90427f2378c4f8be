import Glibc

/// Picks lines out of a text that arrives in pieces, and tells on the way whether it is text at all.
///
/// A line includes its line feed. Lines are counted from 1; what follows the last line feed is a line when it is not empty.
struct LineScanner {
    /// Lines are added whole while they fit into this many bytes; only the very first may be cut.
    let byteLimit: Int
    let firstLine: Int
    let lineLimit: Int

    private(set) var content: [UInt8] = []
    private(set) var isBinary = false
    private(set) var lineFeeds = 0
    /// Nothing more is collected: the window is complete, or the bytes are used up.
    private(set) var isFull = false
    private var collectedLines = 0
    private var lineStart = 0
    private var wasCut = false
    private var lastByte: UInt8 = 0x0a
    private var validator = UTF8Validator()

    init(firstLine: Int, lineLimit: Int, byteLimit: Int) {
        self.firstLine = firstLine
        self.lineLimit = lineLimit
        self.byteLimit = byteLimit
    }

    mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        guard !isBinary, let base = bytes.baseAddress, let last = bytes.last else { return }
        validator.feed(bytes)
        guard validator.isValid, memchr(base, 0, bytes.count) == nil else {
            isBinary = true
            return
        }
        lastByte = last
        var start = 0
        while start < bytes.count {
            let feed = memchr(base + start, 0x0a, bytes.count - start)
            let end = feed.map { UnsafeRawPointer($0) - base + 1 } ?? bytes.count
            collect(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), endsLine: feed != nil)
            start = end
        }
    }

    private mutating func collect(_ piece: UnsafeRawBufferPointer, endsLine: Bool) {
        let line = lineFeeds + 1
        if endsLine { lineFeeds += 1 }
        guard line >= firstLine, !isFull else { return }
        guard content.count + piece.count <= byteLimit else {
            cut(piece)
            return
        }
        content.append(contentsOf: piece)
        guard endsLine else { return }
        collectedLines += 1
        lineStart = content.count
        if collectedLines == lineLimit { isFull = true }
    }

    /// The bytes are used up: gives back the line that does not fit, or cuts it when it is the only one.
    private mutating func cut(_ piece: UnsafeRawBufferPointer) {
        isFull = true
        guard collectedLines == 0 else {
            content.removeLast(content.count - lineStart)
            return
        }
        content.append(contentsOf: piece.prefix(byteLimit - content.count + 1))
        content = Array(content.prefixOfWholeCharacters(byteLimit))
        collectedLines = 1
        wasCut = true
    }

    /// Lines of the whole text, once everything was fed.
    var totalLines: Int { lineFeeds + (lastByte == 0x0a ? 0 : 1) }

    /// Lines in `content`; the last may lack its line feed.
    var lineCount: Int { collectedLines + (!isFull && content.count > lineStart ? 1 : 0) }

    /// Whether the text goes on after `content`.
    var isTruncated: Bool { wasCut || (isFull && firstLine + lineCount - 1 < totalLines) }

    /// Whether what was fed ends within a character: then it is not text.
    var endsWithinCharacter: Bool { !validator.isComplete }
}

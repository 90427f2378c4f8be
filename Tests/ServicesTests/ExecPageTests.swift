import ControllerServices
import NIOCore
import Testing

/// A page of output is a part of the stream without a hole, whatever is missing and however it comes.
@Suite struct ExecPageTests {
    private static let end = 10

    /// What a node tells of a stream from an offset on: all but the bytes of the hole, in pieces.
    private static func events(from start: Int, hole: Range<Int>, piece: Int) -> [ExecAttachment.Event] {
        var events: [ExecAttachment.Event] = []
        var place = start
        while place < end {
            if hole.contains(place) {
                events.append(.gap(channel: 1, from: UInt64(place), to: UInt64(hole.upperBound)))
                place = hole.upperBound
                continue
            }
            let last = place < hole.lowerBound ? hole.lowerBound : end
            let bytes = (place..<min(last, place + piece)).map { UInt8($0) }
            events.append(.data(channel: 1, offset: UInt64(place), ByteBuffer(bytes: bytes)))
            // Of the other stream, which is not asked for.
            events.append(.data(channel: 2, offset: 7, ByteBuffer(bytes: [99])))
            events.append(.gap(channel: 2, from: 8, to: 9))
            place += bytes.count
        }
        return events
    }

    /// Goes from page to page; gives the bytes by their places, and how many were told to be missing.
    private static func readAll(
        from wanted: Int, hole: Range<Int>, piece: Int, limit: Int
    ) -> (kept: [Int], missing: Int) {
        var kept: [Int] = []
        var missing = 0
        var place = wanted
        while place < end {
            var page = ExecPage(stream: .stdout, offset: UInt64(place), running: true)
            for event in events(from: place, hole: hole, piece: piece)
            where page.bytes.readableBytes < limit && !page.isOver {
                page.add(event, channel: 1, limit: limit)
            }
            let bytes = page.bytes.readableBytesView.map { Int($0) }
            // Each byte is its own place.
            guard bytes == Array(Int(page.offset)..<Int(page.nextOffset)), bytes.count <= limit,
                Int(page.nextOffset) > place
            else { return ([], -1) }
            if let gap = page.gap {
                guard Int(gap.from) == place, gap.to == page.offset else { return ([], -2) }
                missing += Int(gap.to - gap.from)
            } else if Int(page.offset) != place {
                return ([], -3)
            }
            kept += bytes
            place = Int(page.nextOffset)
        }
        return (kept, missing)
    }

    @Test func pagesHaveEveryByteThatIsKeptAtItsPlace() {
        for from in 0...Self.end {
            for to in from...Self.end {
                for wanted in 0..<Self.end {
                    for piece in 1...4 {
                        for limit in 1...6 {
                            let hole = from..<to
                            let (kept, missing) = Self.readAll(from: wanted, hole: hole, piece: piece, limit: limit)
                            let expected = (wanted..<Self.end).filter { !hole.contains($0) }
                            guard kept == expected, missing == Self.end - wanted - expected.count else {
                                Issue.record("\(hole) missing, from \(wanted), pieces of \(piece), pages of \(limit)")
                                return
                            }
                        }
                    }
                }
            }
        }
    }
}

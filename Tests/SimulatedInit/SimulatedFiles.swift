/// Bytes on their way through a pipe, a terminal or a socket.
struct ByteQueue {
    private var bytes: [UInt8] = []
    let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { bytes.count }
    var isEmpty: Bool { bytes.isEmpty }
    var room: Int { max(0, capacity - bytes.count) }

    /// How many bytes found room.
    mutating func put(_ new: some Collection<UInt8>) -> Int {
        let count = min(room, new.count)
        bytes += new.prefix(count)
        return count
    }

    mutating func take(_ most: Int) -> [UInt8] {
        let taken = Array(bytes.prefix(most))
        bytes.removeFirst(taken.count)
        return taken
    }
}

/// What descriptors refer to: those of init, and those of commands. It is closed when the last of them is.
final class OpenFile {
    enum Kind {
        case listener, null, signals, epoll, terminals
        /// The container's cgroup directory, one exec's directory in it, and the file that tells when that is empty.
        case groups, group(UInt32), groupEvents(UInt32)
        case socket(Connection)
        case readEnd(Pipe), writeEnd(Pipe)
        case master(Terminal), slave(Terminal)
    }

    let kind: Kind
    private(set) var references = 0
    /// For `groupEvents`: something has changed since it was read last.
    var hasNews = false

    init(_ kind: Kind) { self.kind = kind }

    func retain() { references += 1 }

    func release() {
        references -= 1
        guard references == 0 else { return }
        switch kind {
        case .readEnd(let pipe): pipe.hasReader = false
        case .writeEnd(let pipe): pipe.hasWriter = false
        case .master(let terminal): terminal.hasMaster = false
        case .slave(let terminal): terminal.hasSlave = false
        case .socket(let connection): connection.isClosedByInit = true
        case .listener, .null, .signals, .epoll, .terminals, .groups, .group, .groupEvents: break
        }
    }
}

final class Pipe {
    var queue = ByteQueue(capacity: 64 * 1024)
    var hasReader = true
    var hasWriter = true
}

final class Terminal {
    var output = ByteQueue(capacity: 4096)
    var input = ByteQueue(capacity: 4096)
    var hasMaster = true
    var hasSlave = true
}

/// The node's connection, as the node has it.
package final class Connection {
    var arriving: [UInt8] = []
    /// A cgroup directory travels with the next bytes.
    var passesDirectory: Bool
    /// How many more bytes the socket takes.
    package var room = Int.max
    package internal(set) var isClosedByInit = false
    package var isClosedByNode = false
    var sent: [UInt8] = []

    init(passesDirectory: Bool) { self.passesDirectory = passesDirectory }
}

/// A program that init has started, with everything that it started in turn.
package final class SimulatedCommand {
    package let number: UInt32
    let pid: CInt
    package let hasTerminal: Bool
    package let arguments: [[UInt8]]
    package let environment: [[UInt8]]
    var files: [OpenFile]
    let failure: UnsafeMutablePointer<SpawnFailure>

    /// Counted by channel: 1 is stdout, 2 is stderr.
    package internal(set) var written = [0, 0, 0]
    package internal(set) var writtenAtExit: [Int]?
    package internal(set) var inputRead = 0
    package internal(set) var failedStage: UInt8 = 0
    /// Processes in its cgroup, it included while it runs.
    package internal(set) var processes = 1

    init(
        number: UInt32, pid: CInt, hasTerminal: Bool, arguments: [[UInt8]], environment: [[UInt8]], files: [OpenFile],
        failure: UnsafeMutablePointer<SpawnFailure>
    ) {
        self.number = number
        self.pid = pid
        self.hasTerminal = hasTerminal
        self.arguments = arguments
        self.environment = environment
        self.files = files
        self.failure = failure
    }

    package var hasEnded: Bool { writtenAtExit != nil }

    /// The byte that a command prints at a place of its output, so that a gap, a swap or a foreign byte shows.
    package static func byte(_ number: UInt32, _ channel: Int, at offset: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: offset &* 31 &+ offset >> 8 &+ offset >> 16 &+ Int(number) &* 7 &+ channel)
    }
}

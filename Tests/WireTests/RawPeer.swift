import FastableCore
import FastableWire
import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#endif

/// One end of a link, and at the other end a plain socket that can send anything.
final class RawPeer {
    let connection: MuxConnection
    private let socket: CInt

    private init(connection: MuxConnection, socket: CInt) {
        self.connection = connection
        self.socket = socket
    }

    deinit { close(socket) }

    /// `role` is that of the connection under test.
    static func make(role: MuxRole, settings: MuxSettings = MuxSettings()) async throws -> RawPeer {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw FastableError(.internal, "no socket pair")
        }
        let connection = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .withConnectedSocket(ends[0]) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try MuxConnection.attach(to: channel, role: role, settings: settings)
                }
            }
        return RawPeer(connection: connection, socket: ends[1])
    }

    func write(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
    }

    /// A WebSocket frame; the length in its shortest form.
    func write(
        opcode: UInt8, _ payload: [UInt8], mask: [UInt8]? = [0, 0, 0, 0], isFinal: Bool = true, reserved: UInt8 = 0
    ) {
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | reserved | opcode]
        let maskBit: UInt8 = mask == nil ? 0 : 0x80
        switch payload.count {
        case ...125: bytes.append(maskBit | UInt8(payload.count))
        case ...65535: bytes += [maskBit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default:
            bytes.append(maskBit | 127)
            bytes += (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        if let mask { bytes += mask + payload.enumerated().map { $1 ^ mask[$0 % 4] } } else { bytes += payload }
        write(bytes)
    }

    func write(_ frame: Frame, mask: [UInt8]? = [0, 0, 0, 0]) {
        write(opcode: 2, FrameCodec.encode(frame).bytes, mask: mask)
    }

    /// Reads until the connection under test closes: the link's frames, and the other WebSocket frames with their opcodes.
    func readToEnd() throws -> (frames: [Frame], others: [(opcode: UInt8, payload: [UInt8])]) {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(socket, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return try Self.parse(bytes)
    }

    private static func parse(_ bytes: [UInt8]) throws -> ([Frame], [(opcode: UInt8, payload: [UInt8])]) {
        var buffer = ByteBuffer(bytes: bytes)
        var frames: [Frame] = []
        var others: [(opcode: UInt8, payload: [UInt8])] = []
        while let (first, second) = buffer.readMultipleIntegers(as: (UInt8, UInt8).self) {
            var length = Int(second & 0x7f)
            if length == 126 { length = Int(buffer.readInteger(as: UInt16.self) ?? 0) }
            if length == 127 { length = Int(buffer.readInteger(as: UInt64.self) ?? 0) }
            if second & 0x80 != 0 { buffer.moveReaderIndex(forwardBy: 4) }
            guard let payload = buffer.readSlice(length: length) else { break }
            if first & 0x0f == 2 {
                frames.append(try FrameCodec.decode(message: payload))
            } else {
                others.append((first & 0x0f, payload.bytes))
            }
        }
        return (frames, others)
    }
}

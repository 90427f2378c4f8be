import FastableCore
import FoundationEssentials
import NIOCore

/// Errors in the payload of `reset` and `goaway`.
enum MuxErrorText {
    /// What an empty payload says: most streams end so, and nobody reads it.
    static let doesNotWait = FastableError(.cancelled, "The other end does not wait for the rest any more.")

    static func encode(_ error: FastableError) -> ByteBuffer {
        // Encoding an error cannot fail; should it ever, an empty payload still resets the stream.
        let json = (try? JSON.encode(error)) ?? Data()
        return json.count <= Limits.controlMessageBytes ? ByteBuffer(bytes: json) : encode(error.withoutDetails)
    }

    static func decode(_ payload: ByteBuffer) -> FastableError {
        guard payload.readableBytes > 0 else { return doesNotWait }
        let json = Data(payload.readableBytesView)
        return (try? JSON.decode(FastableError.self, from: json))
            ?? FastableError(.internal, "The other end gave no readable reason.")
    }
}

extension FastableError {
    fileprivate var withoutDetails: FastableError {
        // Counted in bytes: one character can be of any length.
        let start = String(decoding: message.utf8.prefix(4000), as: UTF8.self)
        return FastableError(code, start, retryAfterSeconds: retryAfterSeconds)
    }

    /// What every call on a link gives once the link is down.
    static func linkDown(_ context: String) -> FastableError {
        FastableError(
            .unavailable, "The link to the other end is down. Try again in a moment.", context: context,
            retryAfterSeconds: 1)
    }
}

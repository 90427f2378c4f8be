import ControllerDomain
import FastableCore
import FoundationEssentials
import HTTPTypes
import NIOCore

/// Files and trees as raw bytes.
struct FileRoutes: Sendable {
    let backend: any APIBackend

    static let file = "/api/projects/{project}/fs/file"
    static let tree = "/api/projects/{project}/fs/tree"

    func add(to table: inout RouteTable<Route>) {
        table.bearer(.get, Self.file, get)
        table.bearer(.head, Self.file, head)
        table.bearer(.put, Self.file, put)
        table.bearer(.get, Self.tree, pull)
        table.bearer(.put, Self.tree, push)
    }

    // MARK: reading

    private func get(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let path = try request.queryParameters(["path"]).required("path")
        let range = try await self.range(request, path, principal)
        let reply = try await get(range, path, request, principal)
        // Between the question for the tag and the answer the file may have changed: then the whole of it is due.
        guard range != nil, let tag = request.headers[.ifRange], reply.headers[.eTag] != tag else { return reply }
        return try await get(nil, path, request, principal)
    }

    private func get(
        _ range: ByteRange?, _ path: String, _ request: APIRequest, _ principal: Principal
    ) async throws -> Reply {
        var wanted = FileDownload(path: path)
        if case .from(let first, let last)? = range {
            wanted.offset = first
            wanted.length = last.map { $0 - first + 1 }
        }
        let file: FileBytes
        do {
            file = try await download(wanted, request, principal)
        } catch let error as FastableError where range != nil && error.code == .unprocessable {
            return ErrorResponse.rangeOutside(size: try await size(path, request, principal), requestID: request.id)
        }
        let tag = Self.tag(file.head)
        if range == nil, request.headers[.ifNoneMatch] == tag {
            return Reply(.notModified, headers: [.eTag: tag])
        }
        if let range, range.resolve(size: file.head.sizeBytes) == nil {
            return ErrorResponse.rangeOutside(size: file.head.sizeBytes, requestID: request.id)
        }
        var reply = BytePump.reply(
            file.bytes, type: Self.mediaType, length: Int(clamping: file.head.length), for: request)
        reply.headers.append(contentsOf: Self.headers(file.head))
        if range != nil {
            reply.status = .partialContent
            let last = file.head.offset + file.head.length - 1
            reply.headers[.contentRange] = "bytes \(file.head.offset)-\(last)/\(file.head.sizeBytes)"
        }
        return reply
    }

    private func head(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let path = try request.queryParameters(["path"]).required("path")
        let head = try await download(FileDownload(path: path, length: 0), request, principal).head
        var reply = Reply(.ok, headers: Self.headers(head))
        reply.headers[.contentType] = Self.mediaType
        reply.headers[.contentLength] = "\(head.sizeBytes)"
        return reply
    }

    /// The range that is asked for, counted from the beginning of the file; none when it is another file than `If-Range` says.
    private func range(_ request: APIRequest, _ path: String, _ principal: Principal) async throws -> ByteRange? {
        guard let range = ByteRange(request.headers[.range]) else { return nil }
        let condition = request.headers[.ifRange]
        let isSuffix = if case .suffix = range { true } else { false }
        guard isSuffix || condition != nil else { return range }
        let head = try await download(FileDownload(path: path, length: 0), request, principal).head
        guard condition == nil || condition == Self.tag(head) else { return nil }
        guard isSuffix, let (offset, length) = range.resolve(size: head.sizeBytes) else { return range }
        return .from(offset, last: offset + length - 1)
    }

    private func size(_ path: String, _ request: APIRequest, _ principal: Principal) async throws -> Int64 {
        try await download(FileDownload(path: path, length: 0), request, principal).head.sizeBytes
    }

    private func download(
        _ file: FileDownload, _ request: APIRequest, _ principal: Principal
    ) async throws -> FileBytes {
        let context = request.context(principal, door: .rest)
        return try await backend.download(file, of: request.parameter("project"), context: context)
    }

    /// The bytes come from a container: a browser must neither guess what they are nor show them as a page of ours.
    private static let mediaType = "application/octet-stream"

    private static func headers(_ head: FileDownloadHead) -> HTTPFields {
        [.eTag: tag(head), .acceptRanges: "bytes", .contentDisposition: "attachment"]
    }

    /// Another one for each state of the file, so that it serves `If-Range` and, when the file is written, `If-Match`.
    private static func tag(_ head: FileDownloadHead) -> String { "\"\(head.version)\"" }

    // MARK: writing

    private func put(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        // A part would replace the whole (RFC 9110, section 14.5).
        guard request.headers[.contentRange] == nil else {
            throw FastableError(
                .invalid,
                "A part of a file cannot be written: a PUT replaces all of it. Send the whole file without ‘Content-Range’, or "
                    + "change a part with fs.edit.",
                details: ["field": "Content-Range"])
        }
        if let coding = TreeForm.codings(of: request.headers).first {
            return ErrorResponse.codingNotTaken(coding, requestID: request.id)
        }
        try IdempotencyKey.refuse(in: request)
        let query = try request.queryParameters(["path", "executable"])
        let file = FileUpload(
            path: try query.required("path"), ifMatch: try ifMatch(request),
            executable: try query.flag("executable") ? true : nil)
        try request.body.check(announced: Limits.rawFileBytes)
        let bytes = request.body.stream(limit: Limits.rawFileBytes)
        let context = request.context(principal, door: .rest)
        let project = request.parameter("project")
        let result = try await request.cancellingOnDisconnect {
            try await backend.upload(file, to: project, bytes: bytes, context: context)
        }
        return Reply.json(try JSON.encode(result), result.created ? .created : .ok)
    }

    /// What the file must be now: `If-Match` with the `ETag` of an earlier answer, or with a sha256 as `fs.read` gives it;
    /// `If-None-Match: *` for "it must not exist".
    private func ifMatch(_ request: APIRequest) throws -> String? {
        if let none = request.headers[.ifNoneMatch] {
            guard none == "*", request.headers[.ifMatch] == nil else {
                throw FastableError(
                    .invalid, "For a change ‘If-None-Match’ can only be ‘*’, without ‘If-Match’.")
            }
            return ""
        }
        guard let value = request.headers[.ifMatch] else { return nil }
        let tag = value.trimmed
        let digest =
            tag.hasPrefix("\"") && tag.hasSuffix("\"") && tag.count > 1 ? String(tag.dropFirst().dropLast()) : tag
        // The node tells whether it is a digest or a version; a weak tag, a list and ‘*’ are neither.
        guard !digest.isEmpty, digest.utf8.count <= 80, digest.allSatisfy({ $0.isHexDigit || "v-".contains($0) }) else {
            throw FastableError(
                .invalid, "‘If-Match’ takes the ETag that GET gives, or the sha256 that fs.read and fs.write give.")
        }
        return digest.lowercased()
    }

    // MARK: trees

    private func push(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        try IdempotencyKey.refuse(in: request)
        let query = try request.queryParameters(["path", "replace"])
        let tree = TreePush(
            path: query["path"], replace: try query.flag("replace") ? true : nil, ifMatch: try ifMatch(request),
            compression: try TreeForm.ofBody(request.headers).compression)
        try request.body.check(announced: Limits.treeBytes)
        let archive = request.body.stream(limit: Limits.treeBytes)
        let context = request.context(principal, door: .rest)
        let project = request.parameter("project")
        let result = try await request.cancellingOnDisconnect {
            try await backend.pushTree(tree, to: project, archive: archive, context: context)
        }
        return Reply.json(try JSON.encode(result))
    }

    private func pull(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let form = TreeForm.wanted(accept: request.accepted, request.headers)
        let tree = TreePull(path: try request.queryParameters(["path"])["path"], compression: form.compression)
        let context = request.context(principal, door: .rest)
        let archive = try await backend.pullTree(tree, of: request.parameter("project"), context: context)
        var reply = BytePump.reply(archive, type: form.mediaType, for: request)
        reply.headers[.vary] = "Accept, Accept-Encoding"
        reply.headers[.contentEncoding] = form.coding
        return reply
    }
}

import ControllerDomain
import ControllerFleet
import FastableCore
import FoundationEssentials
import NIOCore

/// `fs.*`: the files of a project. They work on the node's side of the volume, without a process in the container.
struct FileOperations: Sendable {
    let projects: ProjectService
    let transfers: TransferService

    var all: [Operation] { [read, write, edit, list, glob, grep, delete, stat, makeDirectory, move, copy, changeMode] }

    private var read: Operation {
        forwarding(
            "fs.read",
            .init(
                "Read a file",
                "Reads a text file of the project, or lists a directory. Gives at most \(Limits.fileReadBytes) bytes of whole "
                    + "lines; `truncated` tells that more follows. A file that is not UTF-8 text comes as base64. Fails with "
                    + "not_found when there is no such path."),
            .filesRead, .reading, .fsRead, FileRead.self, FileReadResult.self,
            [
                .required("path", FileSchemas.path("The file or directory.")),
                .optional("offset", .integer(1...Int(Int32.max), "First line to give, counted from 1.", default: 1)),
                .optional("limit", .integer(1...Int(Int32.max), "Number of lines; as many as fit unless given.")),
            ], FileSchemas.read)
    }

    private var write: Operation {
        .onProject(
            "fs.write",
            .init(
                "Write a file",
                "Writes a whole file, atomically, and makes missing directories. Replaces what was there: use fs.edit to "
                    + "change a part. At most \(Limits.fileWriteBytes) bytes. Fails with stale when `ifMatch` does not hold."
            ),
            scope: .filesWrite, annotations: .writing(destructive: true, idempotent: true), input: FileWrite.self,
            fields: [
                .required("path", FileSchemas.path("The file.")),
                .required("content", .string("The whole new content.")),
                .optional("encoding", FileSchemas.encoding),
                .optional("ifMatch", FileSchemas.ifMatch),
                .optional("executable", .boolean("Set or clear the execute bits; they stay unless given.")),
            ], answers: FileSchemas.written, note: Self.path
        ) { input, project, context in
            let content = try Self.bytes(of: input)
            let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
            guard content.readableBytes > Limits.inlineWriteBytes else {
                return try await placed.client.call(
                    .fsWrite, FileCall(project: project.id, arguments: input), returning: FileWriteResult.self,
                    request: context.requestID, timeout: .seconds(Limits.nodeAnswerSeconds))
            }
            let file = FileUpload(path: input.path, ifMatch: input.ifMatch, executable: input.executable)
            return try await transfers.write(file, content: content, to: placed, context: context)
        }
    }

    private var edit: Operation {
        forwarding(
            "fs.edit",
            .init(
                "Edit a file",
                "Replaces exact texts in a file: all edits or none, in order, each on the result of the one before. "
                    + "`oldString` must occur exactly once unless `replaceAll`: give enough lines around it. Fails with not_found when "
                    + "it does not occur (telling the nearest lines), ambiguous when it occurs more than once (telling "
                    + "the lines), unprocessable when nothing would change, binary, and stale when `ifMatch` does not hold."
            ),
            .filesWrite, .writing(destructive: true), .fsEdit, FileEdit.self, FileEditResult.self,
            [
                .required("path", FileSchemas.path("The file; at most \(Limits.fileEditBytes) bytes.")),
                .required(
                    "edits",
                    .array(
                        .input([
                            .required(
                                "oldString",
                                .string("The text to replace, byte for byte, with its indentation.", minimumBytes: 1)),
                            .required("newString", .string("What stands there afterwards; may be empty.")),
                            .optional("replaceAll", .boolean("Replace every occurrence.", default: false)),
                        ]), "What to replace, in order.", minimum: 1, maximum: Limits.fileEditsPerCall)),
                .optional("ifMatch", FileSchemas.ifMatch),
            ], FileSchemas.edited)
    }

    private var list: Operation {
        forwarding(
            "fs.list",
            .init(
                "List a directory",
                "Lists the entries of a directory with kind, size, mode and time; at most \(Limits.listEntries). Does not look into "
                    + "subdirectories unless `depth` says so."),
            .filesRead, .reading, .fsList, FileList.self, FileListResult.self,
            [
                .optional("path", FileSchemas.path("The directory; the workspace unless given.")),
                .optional(
                    "depth",
                    .integer(1...Limits.listDepth, "Levels to descend; 1 lists the directory itself.", default: 1)),
                .optional("includeHidden", .boolean("Also names that begin with a dot.", default: false)),
            ], FileSchemas.listed)
    }

    private var delete: Operation {
        forwarding(
            "fs.delete",
            .init(
                "Delete a file",
                "Deletes a file, a link or a directory; a link is deleted, never what it points to. Fails with conflict for a directory "
                    + "that is not empty unless `recursive`, not_found when there is no such path, and stale when `ifMatch` does not hold."
            ),
            .filesWrite, .writing(destructive: true), .fsDelete, FileDelete.self, FileDeleteResult.self,
            [
                .required("path", FileSchemas.path("What to delete.")),
                .optional("recursive", .boolean("A directory with all that is in it.", default: false)),
                .optional("ifMatch", FileSchemas.ifContentMatch),
            ], FileSchemas.deleted)
    }

    /// An operation that the node carries out as it is.
    func forwarding<Input: Codable & Sendable, Output: Codable & Sendable>(
        _ name: String, _ words: Operation.Words, _ scope: Scope, _ annotations: Operation.Annotations,
        _ method: NodeMethod, _ input: Input.Type, _ output: Output.Type, _ fields: [JSONSchema.Property],
        _ answer: JSONSchema, timeoutSeconds: Int = Limits.searchSeconds
    ) -> Operation {
        .onProject(
            name, words, scope: scope, annotations: annotations, input: input, fields: fields, answers: answer,
            note: Self.path
        ) { input, project, context -> Output in
            let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
            return try await placed.client.call(
                method, FileCall(project: project.id, arguments: input), returning: Output.self,
                request: context.requestID,
                timeout: .seconds(timeoutSeconds + Limits.nodeAnswerSeconds))
        }
    }

    static func path(_ input: JSONValue) -> Operation.Note {
        var note = Operation.Note.path(input["path"]?.string ?? input["from"]?.string)
        for field in ["to", "mode"] {
            if let text = input[field]?.string {
                note.detail[field] = .string(text.cut(to: Limits.auditPathCharacters))
            }
        }
        if let pattern = input["pattern"]?.string {
            note.detail["pattern"] = .string(pattern.cut(to: Limits.auditPathCharacters))
        }
        return note
    }

    private static func bytes(of input: FileWrite) throws -> ByteBuffer {
        let bytes: ByteBuffer
        switch input.encoding ?? .utf8 {
        case .utf8: bytes = ByteBuffer(string: input.content)
        case .base64:
            guard let decoded = Data(base64Encoded: input.content) else {
                throw FastableError(
                    .unprocessable, "The field ‘content’ is not base64.", details: ["field": "content"])
            }
            bytes = ByteBuffer(bytes: decoded)
        }
        guard bytes.readableBytes <= Limits.fileWriteBytes else {
            throw FastableError(
                .tooLarge,
                "The content is larger than \(Limits.fileWriteBytes) bytes. Upload it raw: "
                    + "PUT /api/projects/{project}/fs/file?path=… (`fastable fs upload`).",
                details: ["field": "content", "limit": .integer(Int64(Limits.fileWriteBytes))])
        }
        return bytes
    }
}

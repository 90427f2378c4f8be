import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FoundationEssentials
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct AuditTests {
    @Test func aChangeHasAnIntentBeforeItsEffectAndAnOutcome() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            let intents = Mutex(0)
            nodes[0].onExec { _, exec in
                let seen = try await world.store.auditEntries(
                    AuditFilter(workspaces: nil, operation: "shell.exec"), before: nil, limit: 10)
                intents.withLock { $0 = seen.filter { $0.event.phase == .intent }.count }
                try await exec.started()
                try await exec.finish(code: 7)
            }
            let context = world.context()
            try await world.run("shell.exec", ["project": "shop", "cmd": "make", "cwd": "api"], context)
            #expect(intents.withLock { $0 } == 1, "the intent must be stored when the command starts")
            let events = try await world.audit("shell.exec")
            #expect(events.map(\.phase) == [.intent, .outcome])
            for event in events {
                #expect(event.project == project)
                #expect(event.request == context.requestID)
                #expect(event.actor == AuditEvent.Actor(token: context.principal.token, name: "tester"))
                #expect(event.workspace == world.workspace)
                #expect(event.door == .rest)
                #expect(event.detail["cmd"] == "make")
                #expect(event.detail["cwd"] == "api")
            }
            #expect(events.last?.code == nil)
            #expect(events.last?.detail["exitCode"] == 7)
            #expect(events.last?.detail["execId"]?.string?.hasPrefix("exe_") == true)
            #expect(events.last?.detail["durationMs"]?.integer != nil)
        }
    }

    @Test func readingLeavesAnOutcomeOnly() async throws {
        try await World.with { world, _ in
            try await world.run("projects_list")
            #expect(try await world.audit("projects_list").map(\.phase) == [.outcome])
        }
    }

    @Test func whatIsSecretOrLargeStaysOut() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].reply(.fsWrite) { (_: FileCall<FileWrite>) in
                FileWriteResult(path: "a", sha256: "ab", sizeBytes: 1, created: true)
            }
            nodes[0].reply(.fsEdit) { (_: FileCall<FileEdit>) in
                FileEditResult(path: "a", sha256: "ab", replacements: 1, firstLine: 1, snippet: "S3CRET")
            }
            let long = String(repeating: "x", count: 2000)
            try await world.run("shell.exec", ["project": "shop", "cmd": .string(long), "env": ["KEY": "S3CRET"]])
            try await world.run("fs.write", ["project": "shop", "path": "a/b", "content": "S3CRET"])
            try await world.run(
                "fs.edit",
                ["project": "shop", "path": "a/b", "edits": [["oldString": "S3CRET", "newString": "S3CRET2"]]])
            try await world.run("projects_create", ["name": "env", "environment": ["KEY": "S3CRET"]])
            await expectFailure(.unprocessable) {
                try await world.run("projects_create", ["name": "git", "git": ["url": "https://me:S3CRET@host/a"]])
            }
            let token = try await world.run("tokens_create", ["name": "t"])
            let join = try await world.run("nodes_join_token")
            await world.services.audit.flush()
            let entries = try await world.store.auditEntries(AuditFilter(workspaces: nil), before: nil, limit: 500)
            let text = "\(entries)"
            #expect(!text.contains("S3CRET"))
            for secret in [token["token"], join["token"]] { #expect(!text.contains(try #require(secret?.string))) }
            #expect(text.contains("a/b"))
            let command = try await world.audit("shell.exec").first?.detail["cmd"]?.string
            #expect(command?.count == Limits.auditCommandCharacters)
            #expect(command?.hasSuffix("…") == true)
            #expect(try await world.audit("shell.exec").first?.detail["env"] == ["KEY"])
        }
    }

    @Test func theChainIsListedByWorkspaceAndVerified() async throws {
        try await World.with { world, nodes in
            try await world.project()
            for _ in 0..<5 { try await world.run("shell.exec", ["project": "shop", "cmd": "true"]) }
            let first = try await world.run("audit_list", ["project": "shop", "limit": 4])
            let events = first["events"]?.array ?? []
            #expect(events.count == 4)
            #expect(events.first?["phase"] == "outcome")
            #expect(events.first?["code"] == "ok")
            #expect(events.last?["code"] == nil || events.last?["code"] == "ok")
            let next = try #require(first["next"])
            let second = try await world.run("audit_list", ["project": "shop", "limit": 500, "before": next])
            #expect((second["events"]?.array?.count ?? 0) >= 6)
            #expect(second["next"] == nil)
            let strangers = try await world.run("audit_list", [:], world.context(world.principal(in: world.other)))
            #expect(strangers["events"]?.array?.contains { $0["operation"] == "shell.exec" } == false)

            let verified = try await world.run("audit_verify")
            #expect(verified["valid"] == true)
            let hash = try #require(verified["hash"])
            let sequence = try #require(verified["sequence"])
            #expect(try await world.run("audit_verify", ["hash": hash, "sequence": sequence])["valid"] == true)
            let wrong = JSONValue.string(String(repeating: "0", count: 64))
            let broken = try await world.run("audit_verify", ["hash": wrong, "sequence": sequence])
            #expect(broken["valid"] == false)
            #expect(broken["reason"]?.string?.isEmpty == false)
            await expectFailure(.unprocessable) { try await world.run("audit_verify", ["hash": hash]) }
        }
    }

    @Test func outcomesAreWrittenInTheOrderTheyHappened() async throws {
        try await World.with { world, _ in
            try await world.project()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<50 {
                    group.addTask { try await world.run("shell.exec", ["project": "shop", "cmd": "true"]) }
                }
                try await group.waitForAll()
            }
            let events = try await world.audit("shell.exec")
            #expect(events.count == 100)
            for (_, pair) in Dictionary(grouping: events, by: \.request) {
                #expect(pair.map(\.phase) == [.intent, .outcome])
            }
            let outcomes = events.filter { $0.phase == .outcome }.map(\.timeMilliseconds)
            #expect(outcomes == outcomes.sorted())
        }
    }

    @Test func whenTheIntentCannotBeStoredNothingHappens() async throws {
        try await World.with { world, nodes in
            try await world.project()
            // The second time, the project comes from the cache: the intent is the first thing that needs the database.
            for _ in 0..<2 { try await world.run("shell.exec", ["project": "shop", "cmd": "true"]) }
            await world.services.audit.flush()
            try world.store.close()
            await #expect(throws: FastableError.self) {
                try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            }
            #expect(nodes[0].methods == [.execStart, .execStart])
            #expect(world.services.metrics.value(.auditFailures) >= 1)
        }
    }
}

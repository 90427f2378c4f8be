import ControllerDomain
import FastableCore
import Testing

@Suite struct AccessTests {
    private let workspace = WorkspaceID()

    private func principal(_ scopes: Set<Scope>, name: String = "ci") -> Principal {
        Principal(token: TokenID(), workspace: workspace, name: name, scopes: scopes)
    }

    /// Every scope alone against every scope wanted.
    @Test(arguments: Scope.allCases, Scope.allCases)
    func aScopeAllowsItselfAndAdminAll(held: Scope, wanted: Scope) throws {
        let who = principal([held])
        let allowed = held == wanted || held == .admin
        #expect(who.holds(wanted) == allowed)
        if allowed {
            try Access.authorize(who, wanted)
            try Access.authorize(who, wanted, on: .project, named: "demo", in: workspace)
        } else {
            let error = #expect(throws: FastableError.self) { try Access.authorize(who, wanted) }
            #expect(error?.code == .forbidden)
            #expect(error?.details["scope"] == .string(wanted.rawValue))
        }
    }

    @Test(arguments: Scope.allCases)
    func withoutScopesNothingIsAllowed(wanted: Scope) {
        #expect(throws: FastableError.self) { try Access.authorize(principal([]), wanted) }
    }

    /// The answer about a project of another workspace is the answer about none, also for an administrator.
    @Test(arguments: Scope.allCases)
    func anotherWorkspaceLooksEmpty(wanted: Scope) {
        let error = #expect(throws: FastableError.self) {
            try Access.authorize(principal([wanted]), wanted, on: .project, named: "demo", in: WorkspaceID())
        }
        #expect(error == FastableError.missing(.project, "demo"))
        #expect(error?.code == .notFound)
    }

    /// Without the scope the answer is the same for one's own, for another's and for a missing thing.
    @Test func aMissingScopeTellsNothingAboutTheThing() {
        let who = principal([.projectsRead])
        let answers = [workspace, WorkspaceID()].map { place in
            #expect(throws: FastableError.self) {
                try Access.authorize(who, .exec, on: .project, named: "demo", in: place)
            }
        }
        #expect(answers[0] == answers[1])
        #expect(answers[0]?.code == .forbidden)
    }

    @Test(arguments: Thing.allCases)
    func missingThingsAreNamedAndAdviceIsGiven(kind: Thing) {
        let error = FastableError.missing(kind, "demo")
        #expect(error.code == .notFound)
        #expect(error.message.contains("There is no \(kind.rawValue) ‘demo’."))
        #expect(error.message.count > "There is no \(kind.rawValue) ‘demo’.".count + 10)
    }

    @Test func hostileNamesAreShownHarmless() {
        let error = FastableError.missing(.project, "\u{1b}[2J\u{202e}\n" + String(repeating: "x", count: 5000))
        #expect(error.message.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x202e })
        #expect(error.message.count < 300)
        #expect(error.message.contains("…"))
    }
}

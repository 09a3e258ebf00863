;;; redraft-client.el --- The connection of Redraft with its server  -*- lexical-binding: t -*-

;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; A server class of Eglot's for `redraft-lsp', and requests that wait for
;; their answer, can be quit with \\`C-g', and end in one calm message where
;; they cannot be served.  Part of the package `redraft'; see redraft.el.

;;; Code:

(require 'cl-lib)
(require 'eglot)
(require 'subr-x)

(defgroup redraft nil
  "An assistant that learns from what you change in its answers."
  :group 'tools
  :prefix "redraft-")

(defconst redraft-client-version "0.1"
  "The versions of the server that this package understands: major.minor.")

;;; Settings

(defcustom redraft-command '("redraft-lsp")
  "The program that starts the server, and its arguments."
  :type '(repeat string))

(defcustom redraft-modes '(text-mode markdown-mode gfm-mode org-mode)
  "Major modes in which `redraft-setup' starts Redraft.
Eglot has one server for a buffer.  A mode that has a language server
already should not stand here: whichever is started first gets the buffer."
  :type '(repeat symbol))

(defcustom redraft-language-ids
  '((markdown-mode . "markdown") (gfm-mode . "markdown") (org-mode . "org") (text-mode . "plaintext"))
  "What the server calls the language of a major mode or of those derived from it.
A mode that is not here goes by its name.  Messages of Git are always
`git-commit'."
  :type '(alist :key-type symbol :value-type string))

(defcustom redraft-record 'ask
  "Whether edits are recorded, so that Redraft can learn from them.
`ask' asks once, in plain words; nothing is recorded before a yes.
t tells the server that you consent.  nil records nothing."
  :risky t
  :type '(choice (const :tag "Ask once" ask) (const :tag "I consent" t) (const :tag "Never" nil)))

(defcustom redraft-rewrites nil
  "Your own rewrites, as (TITLE . INSTRUCTION); nil for the server's."
  :risky t
  :type '(alist :key-type string :value-type string))

(defcustom redraft-host nil
  "The URL of a model host to use in place of the embedded one, or nil."
  :risky t
  :type '(choice (const :tag "Embedded" nil) string))

(defcustom redraft-host-key nil
  "The key of `redraft-host', or nil."
  :risky t
  :type '(choice (const :tag "None" nil) string))

(defcustom redraft-bandit nil
  "Which bandit chooses the adapter, or nil for the one of config.toml."
  :risky t
  :type '(choice (const :tag "As config.toml says" nil) string))

(defcustom redraft-quiet-seconds nil
  "How long a text is left alone until it counts as kept; nil for the server's 60."
  :type '(choice (const :tag "Default" nil) number))

(defcustom redraft-limit-seconds nil
  "How long after it was put in a text counts as kept in any case; nil for 1800."
  :type '(choice (const :tag "Default" nil) number))

(defcustom redraft-ghost-text t
  "Whether text is offered at the cursor while you pause.
nil offers it through `completion-at-point' instead."
  :type 'boolean)

(defcustom redraft-ghost-disabled-languages nil
  "Languages (ids, such as \"org\") in which no text is offered unasked."
  :type '(repeat string))

(defcustom redraft-ghost-debounce-ms nil
  "How long the server waits for a pause in the typing.
nil goes by your own rhythm."
  :type '(choice (const :tag "Your rhythm" nil) integer))

(defcustom redraft-timeout 120
  "Seconds to wait for an answer of the model."
  :type 'number)

(defun redraft--json (value)
  "VALUE, a boolean, as JSON."
  (if value t :json-false))

(defun redraft--true-p (value)
  "Whether VALUE, as it came from JSON, is true."
  (and value (not (eq value :json-false))))

(defun redraft--plist (&rest pairs)
  "PAIRS without those whose value is nil."
  (cl-loop for (key value) on pairs by #'cddr
           when value append (list key value)))

(defun redraft--changeable-options ()
  "The settings that may change without a new start of the server."
  (redraft--plist
   :inlineCompletion
   (redraft--plist :enabled (redraft--json redraft-ghost-text)
                   :disabledLanguages (vconcat redraft-ghost-disabled-languages)
                   :debounceMs redraft-ghost-debounce-ms)
   :settle (redraft--plist :quietSeconds redraft-quiet-seconds :limitSeconds redraft-limit-seconds)
   :rewrites (let ((rewrites (default-value 'redraft-rewrites)))
               (and rewrites
                    (vconcat (mapcar (lambda (entry) (list :title (car entry) :instruction (cdr entry)))
                                     rewrites))))))

(defun redraft-initialization-options ()
  "The settings as the server's `initializationOptions'.
Those that could switch recording on or send text elsewhere are read
as the user set them, never as a file or a folder does."
  (let ((record (default-value 'redraft-record)))
    (append (redraft--plist
             :record (unless (eq record 'ask) (redraft--json record))
             :host (redraft--plist :url (default-value 'redraft-host) :apiKey (default-value 'redraft-host-key))
             :bandit (default-value 'redraft-bandit))
            (redraft--changeable-options))))

;;; The server

(defclass redraft-server (eglot-lsp-server)
  ((state :initform "ready" :accessor redraft--state
          :documentation "What `redraft/status' said last: ready, thinking, paused, error.")
   (words :initform nil :accessor redraft--words
          :documentation "The sentence that came with it.")
   (asked :initform nil :accessor redraft--asked
          :documentation "Whether the question of consent was put, or needs not be."))
  :documentation "redraft-lsp.")

(cl-defmethod eglot-initialization-options ((_server redraft-server))
  "The settings of this package."
  (redraft-initialization-options))

(cl-defmethod eglot-client-capabilities ((_server redraft-server))
  "Eglot's own, with ghost text and the state for the mode line."
  (let ((known (copy-tree (cl-call-next-method))))
    (when redraft-ghost-text
      (setf (plist-get (plist-get known :textDocument) :inlineCompletion) '(:dynamicRegistration :json-false)))
    (setf (plist-get known :experimental) '(:redraftStatus t))
    known))

(cl-defmethod jsonrpc-connection-send :around
  ((server redraft-server) &rest message &key method params &allow-other-keys)
  "Name the language of a document that is opened by its own mode.
Eglot 1.9 knows one language for each SERVER.  MESSAGE has METHOD
and PARAMS."
  (if (not (eq method :textDocument/didOpen))
      (cl-call-next-method)
    (let ((document (plist-put (copy-sequence (plist-get params :textDocument))
                               :languageId (redraft--language-id)))
          (message (copy-sequence message)))
      (apply #'cl-call-next-method server
             (plist-put message :params (plist-put (copy-sequence params) :textDocument document))))))

(defun redraft--language-id ()
  "The language of this buffer as the server knows it."
  (cond ((and buffer-file-name
              (string-match-p "/\\(?:COMMIT\\|MERGE\\|TAG\\)_\\(?:EDIT\\)?MSG\\'" buffer-file-name))
         "git-commit")
        ((cdr (cl-find-if (lambda (entry) (derived-mode-p (car entry))) redraft-language-ids)))
        (t (string-remove-suffix "-mode" (symbol-name major-mode)))))

(cl-defmethod eglot-handle-notification
  ((server redraft-server) (_method (eql redraft/status)) &key state text &allow-other-keys)
  "Remember STATE and TEXT of SERVER for the mode line."
  (setf (redraft--state server) state
        (redraft--words server) text)
  (force-mode-line-update t))

(cl-defmethod eglot-handle-notification
  ((server redraft-server) (_method (eql $/progress)) &key value &allow-other-keys)
  "Show VALUE, how far SERVER is with a training or an answer."
  (let ((percentage (plist-get value :percentage)))
    (setf (redraft--words server)
          (unless (equal (plist-get value :kind) "end")
            (string-join (delq nil (list (plist-get value :title) (plist-get value :message)
                                         (and (numberp percentage) (format "%d%%" percentage))))
                         " ")))
    (force-mode-line-update t)))

(defun redraft--ours (&optional server)
  "SERVER, or the one of this buffer, if it is a live Redraft; else nil."
  (let ((found (or server (eglot-current-server))))
    (and found (cl-typep found 'redraft-server) (jsonrpc-running-p found) found)))

(defun redraft--server-version (server)
  "The version of SERVER by its own word, or nil."
  (plist-get (eglot--server-info server) :version))

(defun redraft--fitting-p (version)
  "Whether this package understands a server of VERSION."
  (and (stringp version)
       (string-match-p (concat "\\`" (regexp-quote redraft-client-version) "\\(?:[^0-9]\\|\\'\\)") version)))

(defun redraft--server ()
  "The Redraft server of this buffer.
A calm error with the way out if there is none."
  (let ((server (or (redraft--ours) (redraft--no-server))))
    (unless (redraft--fitting-p (redraft--server-version server))
      (user-error "Redraft: the server is version %s and this package understands %s.x; upgrade the older of them"
                  (or (redraft--server-version server) "unknown") redraft-client-version))
    server))

(defun redraft--no-server ()
  "Say why this buffer has no Redraft server, as an error."
  (redraft--check-program)
  (cond ((not buffer-file-name)
         (user-error "Redraft: this buffer visits no file; save it to one first (C-x C-w)"))
        ((and (eglot-current-server) (not (jsonrpc-running-p (eglot-current-server))))
         (user-error "Redraft: the server has just ended; M-x redraft-mode starts it again"))
        ((eglot-current-server)
         (user-error "Redraft: %s has this buffer, and Eglot knows one server for a buffer; M-x eglot-shutdown frees it"
                     (jsonrpc-name (eglot-current-server))))
        ((bound-and-true-p redraft-mode)
         (user-error "Redraft: the server is starting; try again in a moment (M-x eglot-events-buffer shows how far it is)"))
        (t (user-error "Redraft: no server in this buffer; M-x redraft-mode starts it"))))

(defun redraft--check-program ()
  "A calm error if the server's program cannot be found."
  (unless (executable-find (car redraft-command))
    (user-error "Redraft: there is no `%s' on `exec-path'; `pip install redraft' brings it, or set `redraft-command'"
                (car redraft-command))))

(defun redraft--connect ()
  "Start Redraft for this buffer, and for those of `redraft-modes' in its project."
  (redraft--check-program)
  (unless buffer-file-name (redraft--no-server))
  ;; Bound, not set: `M-x eglot' goes on offering the servers that it offered before.
  (let ((eglot-server-programs
         (cons (cons (cl-adjoin major-mode redraft-modes) (lambda (&rest _) (cons 'redraft-server redraft-command)))
               eglot-server-programs))
        (current-prefix-arg nil))
    (apply #'eglot--connect (eglot--guess-contact))))

;;; Requests

(defvar redraft--tokens 0 "How many requests had a token for their progress.")

;; Eglot 1.18 has a new name for `eglot-confirm-server-initiated-edits'.
(defvar eglot-confirm-server-edits)

(defun redraft--uri ()
  "This buffer's URI."
  (plist-get (eglot--TextDocumentIdentifier) :uri))

(defun redraft--range (beg end)
  "BEG and END as an LSP range."
  (list :start (eglot--pos-to-lsp-position beg) :end (eglot--pos-to-lsp-position end)))

(defun redraft--flush ()
  "Send what Eglot has not sent yet."
  (when (redraft--ours) (eglot--signal-textDocument/didChange)))

(defun redraft--send (server method params done &optional failed)
  "Ask SERVER METHOD with PARAMS.
Call DONE with the result, or FAILED with a sentence."
  (let ((failed (or failed (lambda (words) (message "Redraft: %s" words)))))
    (jsonrpc-async-request
     server method params
     :success-fn done
     :error-fn (lambda (problem) (funcall failed (or (plist-get problem :message) "the server met an error")))
     :timeout-fn (lambda () (funcall failed (format "no answer in %s s (`redraft-timeout')" redraft-timeout)))
     :timeout redraft-timeout)))

(defun redraft--wait (method params &optional busy token)
  "The answer to METHOD with PARAMS.  Say BUSY meanwhile.
A quit cancels the work of TOKEN."
  (let ((server (redraft--server)) answer
        ;; the user has asked for these edits, or confirmed them
        (eglot-confirm-server-initiated-edits nil)
        (eglot-confirm-server-edits nil))
    (redraft--flush)
    (when busy (message "Redraft: %s... (C-g stops it)" busy))
    (redraft--send server method params
                   (lambda (result) (setq answer (cons t result)))
                   (lambda (words) (setq answer (cons nil words))))
    (condition-case nil
        (while (not answer)
          (unless (jsonrpc-running-p server)
            (setq answer (cons nil "the server ended; M-x redraft-mode starts it again")))
          (accept-process-output nil 0.2))
      (quit (when token (jsonrpc-notify server :window/workDoneProgress/cancel (list :token token)))
            (signal 'quit nil)))
    (if (car answer) (cdr answer) (user-error "Redraft: %s" (cdr answer)))))

(defun redraft--call (command &optional argument busy)
  "The result of COMMAND with ARGUMENT, a plist.  Say BUSY meanwhile."
  (let ((token (format "redraft-%d" (cl-incf redraft--tokens))))
    (redraft--wait :workspace/executeCommand (redraft--execution command argument token) busy token)))

(defun redraft--execution (command argument token)
  "The parameters that run COMMAND with ARGUMENT, a plist or nil, under TOKEN."
  (list :command command
        :arguments (if argument (vector argument) [])
        :workDoneToken token))

(provide 'redraft-client)
;;; redraft-client.el ends here

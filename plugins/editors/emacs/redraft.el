;;; redraft.el --- An assistant that learns from what you change  -*- lexical-binding: t -*-

;; Author: The Redraft authors
;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1") (eglot "1.9"))
;; Keywords: convenience, text
;; URL: https://arxiv.org/abs/2601.19055
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; Redraft offers text at the cursor, rewrites what is selected and drafts
;; from notes.  It runs on your machine, and with your consent it learns from
;; what you keep of its texts.
;;
;;   (require 'redraft)
;;   (redraft-setup)
;;   (define-key redraft-mode-map (kbd "C-c r") redraft-command-map)
;;
;; It needs `redraft-lsp' (pip install redraft).  It speaks through Eglot,
;; which knows one server for a buffer: Redraft is meant for text, Markdown,
;; Org and commit messages, and leaves alone what another server has.

;;; Code:

(require 'diff-mode)
(require 'easymenu)
(require 'redraft-client)
(require 'redraft-ghost)

(defcustom redraft-preview t
  "Whether a rewrite is shown as a diff before it is put in."
  :type 'boolean
  :group 'redraft)

;;; Consent

(defconst redraft--consent-words
  "Redraft can learn from what you keep of its texts. May it record your edits?

What is recorded: the text you selected or the text around the cursor, what
Redraft answered, and what you kept of it or typed instead of it, with the
names of the document and of its folder. Not the rest of the document, and
nothing that looks like a secret.

Where: in one file on this machine,
  %s
Adapters that are trained from it lie beside it.
%s

%s Without a yes Redraft works as well; it only
does not learn. M-x redraft-consent changes your answer, M-x redraft-forget deletes
what was recorded.
"
  "The question of consent: the database, where texts go, how it is now.")

(defun redraft--consent-text (status)
  "The question of consent, as STATUS has it."
  (let ((host (plist-get status :host)))
    (format redraft--consent-words
            (or (plist-get status :database) "edits.db, in Redraft's data folder")
            (if (stringp host)
                (format "The model is elsewhere: what it is shown goes to %s." host)
              "Nothing is sent anywhere.")
            (pcase (plist-get status :consent)
              ("granted" "Now: recorded.")
              ("refused" "Now: not recorded.")
              (_ "Nothing is recorded before a yes.")))))

(defun redraft--consent-question (status)
  "Put the question of consent in words, with the database of STATUS.
Return t for a yes."
  (save-window-excursion
    (with-current-buffer (get-buffer-create "*Redraft consent*")
      (let ((inhibit-read-only t))
        (erase-buffer)
        (insert (redraft--consent-text status)))
      (special-mode)
      (goto-char (point-min))
      (display-buffer (current-buffer)))
    (y-or-n-p "May Redraft record your edits on this machine? ")))

(defun redraft--say-consent (granted workspace)
  "Tell the server that consent is GRANTED or not, in WORKSPACE or in all."
  (let ((answer (redraft--call "redraft.consent"
                               (append (list :granted (redraft--json granted))
                                       (and workspace (list :workspace workspace))))))
    (message "%s" (plist-get answer :text))))

(defun redraft--consent-once ()
  "Ask for consent if nobody ever did, once for a server."
  (let ((server (redraft--server)))
    (unless (redraft--asked server)
      (setf (redraft--asked server) t)
      (let ((status (redraft--call "redraft.status")))
        (when (and (eq redraft-record 'ask) (equal (plist-get status :consent) "unasked"))
          (redraft--say-consent (redraft--consent-question status) nil))))))

;;;###autoload
(defun redraft-consent (&optional here)
  "Say whether Redraft may record your edits to learn from them.
With a prefix argument (HERE), for this project only."
  (interactive "P")
  (let* ((server (redraft--server))
         (folders (eglot-workspace-folders server))
         (status (redraft--call "redraft.status")))
    (setf (redraft--asked server) t)
    (redraft--say-consent (redraft--consent-question status)
                          (and here (plist-get (elt folders 0) :uri)))))

;;; Rewrites and drafts

(defun redraft--selection ()
  "The selected text as (BEG . END).
A calm error if there is none, or if it cannot be changed."
  (redraft--server)
  (unless (use-region-p)
    (user-error "Redraft: select the text first (C-SPC at its beginning, then move to its end)"))
  (when buffer-read-only
    (user-error "Redraft: this buffer is read-only; C-x C-q makes it writable"))
  (cons (region-beginning) (region-end)))

(defun redraft--offered-rewrites (beg end)
  "The rewrites that the server has for BEG to END, as (TITLE . INSTRUCTION)."
  (cl-loop for action across (vconcat (redraft--wait :textDocument/codeAction
                                                     (list :textDocument (eglot--TextDocumentIdentifier)
                                                           :range (redraft--range beg end)
                                                           :context '(:diagnostics [] :only ["refactor.rewrite"]))))
           for command = (plist-get action :command)
           when (equal (plist-get command :command) "redraft.rewrite")
           collect (cons (plist-get action :title)
                         (plist-get (elt (plist-get command :arguments) 0) :instruction))))

(defun redraft--read-instruction (beg end)
  "Ask how to rewrite BEG to END: one of the rewrites, or words of one's own."
  (let* ((known (redraft--offered-rewrites beg end))
         (said (minibuffer-with-setup-hook #'redraft--plain-keys
                 (string-trim (completing-read "Rewrite (or say how): " known nil nil nil 'redraft--instructions)))))
    (when (string-empty-p said)
      (user-error "Redraft: say how to rewrite it, or choose one with TAB"))
    (or (cdr (assoc said known)) said)))

(defun redraft--plain-keys ()
  "Let SPC and ? be typed in a minibuffer that completes."
  (let ((map (make-sparse-keymap)))
    (define-key map " " #'self-insert-command)
    (define-key map "?" #'self-insert-command)
    (use-local-map (make-composed-keymap map (current-local-map)))))

(defvar redraft--instructions nil "Instructions given before.")
(defvar-local redraft--last-offer nil "The last rewrite or draft that was put into this buffer.")

;;;###autoload
(defun redraft-rewrite (beg end instruction)
  "Rewrite the selected text, from BEG to END, by INSTRUCTION.
The new text is shown as a diff first, unless `redraft-preview' is nil."
  (interactive (pcase-let ((`(,beg . ,end) (redraft--selection)))
                 (redraft--consent-once)
                 (list beg end (redraft--read-instruction beg end))))
  (let ((body (list :uri (redraft--uri) :range (redraft--range beg end) :instruction instruction)))
    (if redraft-preview
        (redraft--preview (redraft--call "redraft.rewrite" (append body '(:preview t)) "rewriting"))
      (redraft--put-in (redraft--call "redraft.rewrite" body "rewriting")))))

;;;###autoload
(defun redraft-draft (beg end kind)
  "Write a text of KIND from the selected notes, from BEG to END.
It goes under them; a commit message goes on top."
  (interactive (pcase-let ((`(,beg . ,end) (redraft--selection)))
                 (redraft--consent-once)
                 (list beg end (completing-read "Draft: " '("summary" "email" "docstring" "commit") nil t nil nil
                                                (if (equal (redraft--language-id) "git-commit") "commit" "summary")))))
  (redraft--put-in (redraft--call "redraft.draft"
                                  (list :uri (redraft--uri) :range (redraft--range beg end) :kind kind)
                                  "drafting")))

(defun redraft--put-in (answer)
  "Say what became of ANSWER, a text that the server has put in.  Return it."
  (if (not (redraft--true-p (plist-get answer :applied)))
      (user-error "Redraft: %s" (or (plist-get answer :reason) "the text was not put in"))
    (setq redraft--last-offer (plist-get answer :offerId))
    (deactivate-mark)
    (message "Redraft: done%s. Change it as you like; M-x redraft-reject takes it out again"
             (if (redraft--true-p (plist-get answer :recorded)) "" " (not recorded)"))
    answer))

(defun redraft--preview (offer)
  "Show OFFER as a diff; put it in or decline it, by the user's word."
  (let ((offer-id (plist-get offer :offerId))
        agreed)
    (unwind-protect
        (setq agreed (redraft--agreed-p offer))
      ;; C-g at the question declines as well
      (unless agreed (redraft--call "redraft.reject" (list :offerId offer-id))))
    (if agreed
        (redraft--put-in (redraft--call "redraft.apply" (list :offerId offer-id)))
      (message "Redraft: left as it was")
      nil)))

(defun redraft--agreed-p (offer)
  "Whether the user wants OFFER, having seen it as a diff."
  (let ((shown (redraft--diff-buffer offer)))
    (unwind-protect
        (save-window-excursion
          (display-buffer shown)
          (y-or-n-p "Put it in? "))
      (kill-buffer shown))))

(defun redraft--diff-buffer (offer)
  "A buffer with the diff that OFFER would make here."
  (pcase-let ((`(,line ,old ,new) (redraft--lines offer))
              (file (file-name-nondirectory (or buffer-file-name (buffer-name)))))
    (with-current-buffer (get-buffer-create "*Redraft diff*")
      (let ((inhibit-read-only t))
        (erase-buffer)
        (insert (format "--- %s\n+++ %s (Redraft)\n@@ -%d,%d +%d,%d @@\n"
                        file file line (length old) line (length new))
                (mapconcat (lambda (text) (concat "-" text "\n")) old "")
                (mapconcat (lambda (text) (concat "+" text "\n")) new "")))
      (goto-char (point-min))
      (diff-mode)
      (visual-line-mode 1)
      (setq buffer-read-only t)
      (current-buffer))))

(defun redraft--lines (offer)
  "Where OFFER begins (a line), the lines there now, and those it would make."
  (let* ((range (plist-get offer :range))
         (beg (eglot--lsp-position-to-point (plist-get range :start)))
         (end (eglot--lsp-position-to-point (plist-get range :end))))
    (save-excursion
      (save-restriction
        (widen)
        (let ((from (progn (goto-char beg) (line-beginning-position)))
              (to (progn (goto-char end) (line-end-position))))
          (list (line-number-at-pos from t)
                (split-string (buffer-substring-no-properties from to) "\n")
                (split-string (concat (buffer-substring-no-properties from beg)
                                      (plist-get offer :newText)
                                      (buffer-substring-no-properties end to))
                              "\n")))))))

;;;###autoload
(defun redraft-reject ()
  "Take the last rewrite or draft out again, and learn that it was not wanted."
  (interactive "*")
  (unless redraft--last-offer
    (user-error "Redraft: nothing was put into this buffer yet"))
  (redraft--call "redraft.reject" (list :offerId redraft--last-offer))
  (setq redraft--last-offer nil)
  (message "Redraft: taken out again"))

;;; What is going on

(defun redraft--tell (command &optional argument)
  "Run COMMAND with ARGUMENT and show the answer."
  (message "%s" (plist-get (redraft--call command argument) :text)))

;;;###autoload
(defun redraft-status ()
  "Say what Redraft is doing, and whether it records."
  (interactive)
  (redraft--tell "redraft.status"))

;;;###autoload
(defun redraft-why ()
  "Say why nothing was offered here."
  (interactive)
  (redraft--flush)
  (redraft--tell "redraft.why" (list :uri (progn (redraft--server) (redraft--uri)))))

;;;###autoload
(defun redraft-pause (&optional minutes)
  "Offer and record nothing, for MINUTES (the prefix argument).
Without them until `redraft-resume'."
  (interactive (list (and current-prefix-arg (prefix-numeric-value current-prefix-arg))))
  (redraft--tell "redraft.pause" (and minutes (list :minutes minutes))))

;;;###autoload
(defun redraft-resume ()
  "Go on after `redraft-pause'."
  (interactive)
  (redraft--tell "redraft.resume"))

;;;###autoload
(defun redraft-configure ()
  "Tell the server of settings that were changed."
  (interactive)
  (redraft--tell "redraft.configure" (redraft--changeable-options)))

(defun redraft--page (title text)
  "Show TEXT in a buffer called TITLE."
  (with-current-buffer (get-buffer-create title)
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert text "\n"))
    (special-mode)
    (goto-char (point-min))
    (display-buffer (current-buffer))))

;;;###autoload
(defun redraft-learnt ()
  "Show what Redraft learnt from your edits: whether you change less of its texts."
  (interactive)
  (redraft--page "*Redraft learnt*" (plist-get (redraft--call "redraft.learnt") :text)))

(defvar redraft--training nil "The training under way, as (SERVER . TOKEN), or nil.")

;;;###autoload
(defun redraft-train ()
  "Train adapters from what was recorded.  Takes minutes; you can go on writing.
The mode line tells how far it is; `redraft-stop' ends it."
  (interactive)
  (when (and redraft--training (redraft--ours (car redraft--training)))
    (user-error "Redraft: a training is running; M-x redraft-stop ends it"))
  (let ((server (redraft--server))
        (token (format "redraft-train-%d" (cl-incf redraft--tokens)))
        (redraft-timeout nil))
    (setq redraft--training (cons server token))
    (redraft--send server :workspace/executeCommand (redraft--execution "redraft.train" nil token)
                   (lambda (answer)
                     (setq redraft--training nil)
                     (redraft--page "*Redraft training*" (plist-get answer :text)))
                   (lambda (words)
                     (setq redraft--training nil)
                     (message "Redraft: %s" words)))
    (message "Redraft: training; M-x redraft-stop ends it")))

;;;###autoload
(defun redraft-stop ()
  "Stop the training."
  (interactive)
  (unless (and redraft--training (redraft--ours (car redraft--training)))
    (user-error "Redraft: no training is running"))
  (jsonrpc-notify (car redraft--training) :window/workDoneProgress/cancel (list :token (cdr redraft--training)))
  (message "Redraft: stopping the training"))

;;;###autoload
(defun redraft-forget (what)
  "Delete for good what was recorded.
WHAT is `document' (this one), a number of hours, or `everything'."
  (interactive
   (list (pcase (completing-read "Forget: " '("this document" "the last hours" "everything") nil t)
           ("this document" 'document)
           ("the last hours" (read-number "Hours: " 1))
           ("everything" 'everything)
           (_ (user-error "Redraft: nothing was forgotten")))))
  (let ((argument (cond ((eq what 'document) (redraft--server) (list :uri (redraft--uri)))
                        ((eq what 'everything) '(:everything t))
                        (t (list :hours what)))))
    (unless (y-or-n-p (if (eq what 'everything)
                          "Delete everything that was recorded, and the adapters trained from it? "
                        "Delete it, and the adapters trained from it? "))
      (user-error "Redraft: nothing was forgotten"))
    (redraft--tell "redraft.forget" argument)))

;;; The mode

(defvar redraft-command-map
  (let ((map (make-sparse-keymap)))
    (pcase-dolist (`(,key . ,command)
                   '(("r" . redraft-rewrite) ("d" . redraft-draft) ("c" . redraft-complete)
                     ("k" . redraft-reject) ("s" . redraft-status) ("w" . redraft-why)
                     ("p" . redraft-pause) ("u" . redraft-resume) ("l" . redraft-learnt)
                     ("t" . redraft-train) ("f" . redraft-forget) ("y" . redraft-consent)))
      (define-key map key command))
    map)
  "The commands of Redraft, for a prefix of your choice.")
(fset 'redraft-command-map redraft-command-map)

(defvar redraft-mode-map (make-sparse-keymap)
  "Keys of `redraft-mode'; bind `redraft-command-map' in it.")

(easy-menu-define redraft-menu redraft-mode-map "The menu of Redraft."
  '("Redraft"
    ["Rewrite the selection..." redraft-rewrite :active (use-region-p)]
    ["Draft from the selection..." redraft-draft :active (use-region-p)]
    ["Continue here" redraft-complete]
    ["Take the last text out again" redraft-reject]
    "--"
    ["Pause" redraft-pause]
    ["Resume" redraft-resume]
    ["Status" redraft-status]
    ["Why nothing?" redraft-why]
    "--"
    ["What it learnt" redraft-learnt]
    ["Train" redraft-train]
    ["Forget..." redraft-forget]
    ["Consent..." redraft-consent]))

(defun redraft--lighter ()
  "Redraft's word in the mode line."
  (let ((server (redraft--ours)))
    (concat " Redraft"
            (cond ((not server) ":starting")
                  ((eq server (car redraft--training)) (format "[%s]" (or (redraft--words server) "training")))
                  (t (pcase (redraft--state server)
                       ("thinking" ":...")
                       ("paused" ":paused")
                       ("error" ":!")
                       (_ "")))))))

;;;###autoload
(define-minor-mode redraft-mode
  "Offer text at the cursor, rewrites and drafts in this buffer."
  :lighter (:eval (redraft--lighter))
  :keymap redraft-mode-map
  (if (not redraft-mode)
      (progn (redraft--ghost-off)
             (remove-hook 'before-save-hook #'redraft--flush t))
    (add-hook 'eglot-managed-mode-hook #'redraft--follow-eglot)
    (add-hook 'kill-emacs-hook #'redraft--farewell)
    (unless (redraft--ours)
      (condition-case problem
          (if (eglot-current-server) (redraft--no-server) (redraft--connect))
        (error (setq redraft-mode nil)
               (message "%s" (error-message-string problem)))))
    (when redraft-mode
      ;; Eglot sends the last changes after it says that it will save; to the
      ;; server they would look like those of a formatter.
      (add-hook 'before-save-hook #'redraft--flush -90 t)
      (redraft--ghost-on))))

(defun redraft--follow-eglot ()
  "Turn `redraft-mode' on where Redraft got the buffer of Eglot, else off."
  (let ((ours (and (eglot-managed-p) (redraft--ours))))
    (unless (eq (and ours t) (and redraft-mode t))
      (redraft-mode (if ours 1 -1)))))

(defun redraft--farewell ()
  "Let the servers write down what they know before Emacs ends."
  (dolist (buffer (buffer-list))
    (with-current-buffer buffer
      (when (bound-and-true-p redraft-mode) (ignore-errors (redraft--flush)))))
  (dolist (server (apply #'append (hash-table-values eglot--servers-by-project)))
    (when (redraft--ours server)
      ;; Longer than Eglot's own 1.5 s, after which it kills: on a busy machine
      ;; the first text of a session takes seconds to be judged.
      (ignore-errors (eglot-shutdown server nil 10)))))

(defun redraft-ensure ()
  "Turn `redraft-mode' on here, once the command that opened the buffer is done.
Does nothing where another server has the buffer."
  (let ((buffer (current-buffer)))
    (cl-labels ((start ()
                  (remove-hook 'post-command-hook #'start)
                  (when (buffer-live-p buffer)
                    (with-current-buffer buffer
                      (unless (or redraft-mode (eglot-current-server))
                        (let ((eglot-sync-connect nil)) ; opening a file does not wait for the server
                          (redraft-mode 1)))))))
      (when buffer-file-name
        (add-hook 'post-command-hook #'start 'append)))))

;;;###autoload
(defun redraft-setup ()
  "Start Redraft in every file of `redraft-modes' that is opened from now on."
  (interactive)
  (dolist (mode redraft-modes)
    (add-hook (intern (format "%s-hook" mode)) #'redraft-ensure)))

(provide 'redraft)
;;; redraft.el ends here
